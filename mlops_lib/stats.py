"""Intervals and tests (scipy, statsmodels)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.05


def wilson(successes: float, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson, 1927), as (low, high) in 0..1.

    `successes` may be a mean of several counts.
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, total, LEVEL, method="wilson")
    return float(low), float(high)


def mean_interval(values: ArrayLike) -> tuple[float, float, float]:
    """Return the mean of values, float (n,), and its 95 % interval (Student's t).

    With a single value the interval is infinite.
    """
    values = np.asarray(values, dtype=float)
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return mean, -math.inf, math.inf
    reach = t_reach(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean, mean - reach, mean + reach


def t_reach(freedom: int) -> float:
    """Return how many standard errors a 95 % interval reaches (Student's t)."""
    from scipy import stats

    return float(stats.t.ppf(0.975, freedom))


@dataclass(frozen=True)
class Paired:
    """What the differences of pairs say: first minus second, in the unit of the values."""

    n: int
    wins: int  # differences above 0
    losses: int
    least: float  # of the differences
    most: float
    mean: float
    low: float  # 95 % interval of the mean (Student's t); infinite for a single pair
    high: float
    effect: float  # mean over standard deviation (Cohen's d of pairs)
    p: float  # two-sided Wilcoxon signed-rank test


def paired(differences: Sequence[float]) -> Paired:
    """Summarise differences, float (n,), n of at least 1."""
    from scipy import stats

    # Differences that are equal as printed are ties: binary rounding would rank them apart.
    values = np.round(np.asarray(differences, dtype=float), 9)
    mean, low, high = mean_interval(values)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    effect = mean / spread if spread > 0 else math.nan
    p = float(stats.wilcoxon(values).pvalue) if values.any() else 1.0
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    ends = float(values.min()), float(values.max())
    return Paired(len(values), wins, losses, *ends, mean, low, high, effect, p)


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """Compare two classifiers on the same images, bool (n,): which were right (McNemar, 1947).

    Returns how many images the first alone got right, how many the second alone, and the exact
    two-sided p.
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return only_first, only_second, p


def holm(p_values: ArrayLike) -> list[float]:
    """Adjust the p values of several tests (Holm, 1979), in their order.

    As `statsmodels.multipletests`, which collects garbage at each call: a tenth of a second.
    """
    p = np.asarray(p_values, dtype=float)
    order = p.argsort()
    stepped = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted.tolist()


def two_proportions(first: float, second: float, total: int) -> float:
    """Return the two-sided p of two accuracies (0..1), each over `total` images of its own."""
    from statsmodels.stats.proportion import proportions_ztest

    right = np.array([round(first * total), round(second * total)])
    if right[0] == right[1]:
        return 1.0
    return float(proportions_ztest(right, [total, total])[1])


def differ(first: float, second: float, total: int) -> bool:
    """Return whether two accuracies (0..1), each over `total` images of its own, differ at 5 %."""
    return two_proportions(first, second, total) < LEVEL
