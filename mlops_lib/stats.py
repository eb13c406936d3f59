"""Intervals and tests: formulas that scipy lacks, held against statsmodels by tests."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

LEVEL = 0.05


def wilson(successes: float, total: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson, 1927), as (low, high) in 0..1.

    `successes` may be a mean of several counts.
    """
    from scipy.stats import norm

    z = norm.ppf(1 - LEVEL / 2)
    share, weight = successes / total, z**2 / total
    centre = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return float(max(0, centre - reach)), float(min(1, centre + reach))


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


def holm(p_values: ArrayLike) -> list[float]:
    """Adjust the p values of several tests (Holm, 1979), in their order."""
    p = np.asarray(p_values, dtype=float)
    order = p.argsort()
    stepped = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted.tolist()
