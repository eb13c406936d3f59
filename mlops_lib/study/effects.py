"""Pairs of results → their mean difference, the pairs that differ significantly, and what it
depends on.

A pair is two results that differ in one setting alone. All that is said of pairs is a weighted sum
of the results' values, held against the noise of `noise.cells`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import stats
from mlops_lib.stats import LEVEL
from mlops_lib.study import noise
from mlops_lib.study.protocol import CONFIGURATION, PAIR_KEYS

POSITIONS = ["first", "second"]  # of the two results of a pair in their table
SPLIT_BY = ("table", *CONFIGURATION)  # what an effect may depend on


@dataclass(frozen=True)
class Subgroup:
    """The pairs with one value of a setting: whether the first is ahead there, significantly."""

    factor: str
    level: Any
    mean: float
    sign: int  # 1: significantly ahead, -1: behind, 0: neither


@dataclass(frozen=True)
class Effect:
    """What pairs say: first minus second, in the unit of the values."""

    n: int
    wins: int  # pairs in which the first is ahead
    losses: int
    significant_wins: int  # after Holm's adjustment over the pairs
    significant_losses: int
    mean: float
    low: float  # 95 % interval of the mean
    high: float
    error: float  # standard error of the mean
    df: float  # degrees of freedom of that error
    p: float  # two-sided, of the mean
    worst: float  # the least difference, and its standard error
    worst_error: float
    trainings: int  # the fewest behind a value
    depends_on: tuple[Subgroup, ...] = ()  # of the settings whose values differ significantly

    @property
    def sign(self) -> int:
        """Return 1 if the first is significantly ahead on average, -1 if behind, else 0."""
        return int(np.sign(self.mean)) if self.p < LEVEL else 0


def matched(
    table: pd.DataFrame, factor: str, first: Any, second: Any, measure: str,
    free: Sequence[str] = (), alike: Sequence[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """Return the pairs of rows that differ in `factor` alone: their keys and `POSITIONS`.

    `free` are further columns in which they may differ, `alike` in which they may not, either.
    Rows without a value of `measure` pair with none.
    """
    names = [name for name in ("table", *PAIR_KEYS, *alike) if name in table]
    keys = [name for name in names if name != factor and name not in free]
    if measure not in table or factor not in table:
        return pd.DataFrame(columns=[*keys, *POSITIONS])
    rows = table[keys].assign(row=np.arange(len(table)))
    known = table[measure].notna()
    sides = [
        rows[known & (table[factor] == value)].rename(columns={"row": name})
        for value, name in zip((first, second), POSITIONS, strict=True)
    ]
    return sides[0].merge(sides[1], on=keys)


def of(pairs: pd.DataFrame, cells: pd.DataFrame) -> Effect:
    """Return what pairs of cells say: `pairs` has `POSITIONS` and the settings they share."""
    weights = weights_of(pairs, cells)
    splits = _splits(pairs)
    sums = noise.contrasts(
        np.vstack([weights, weights.mean(axis=0), *(_means(weights, rows) for rows, _ in splits)]),
        cells,
    )
    each, mean, by_level = sums[: len(pairs)], sums.iloc[len(pairs)], sums[len(pairs) + 1 :]
    significant = np.array(stats.holm(each["p"])) < LEVEL
    signs = np.sign(each["estimate"].round(9))  # differences that print as 0 are none
    worst = each.loc[each["estimate"].idxmin()]
    return Effect(
        n=len(pairs),
        wins=int((signs > 0).sum()),
        losses=int((signs < 0).sum()),
        significant_wins=int((significant & (signs > 0)).sum()),
        significant_losses=int((significant & (signs < 0)).sum()),
        mean=float(mean["estimate"]),
        low=float(mean["low"]),
        high=float(mean["high"]),
        error=float(mean["error"]),
        df=float(mean["df"]),
        p=float(mean["p"]),
        worst=float(worst["estimate"]),
        worst_error=float(worst["error"]),
        trainings=int(cells["trainings"].to_numpy()[pairs[POSITIONS]].min()),
        depends_on=_depends_on(splits, by_level),
    )


def weights_of(pairs: pd.DataFrame, cells: pd.DataFrame) -> np.ndarray:
    """Return a row a pair, (pairs, cells): 1 for its first result and -1 for its second."""
    weights, rows = np.zeros((len(pairs), len(cells))), np.arange(len(pairs))
    weights[rows, pairs["first"]] += 1
    weights[rows, pairs["second"]] -= 1
    return weights


def _splits(pairs: pd.DataFrame) -> list[tuple[np.ndarray, list[tuple[str, Any]]]]:
    """Return, for each setting of two values, which pairs have the first, and (setting, value)s."""
    found = []
    for factor in SPLIT_BY:
        levels = pairs[factor].dropna().unique().tolist() if factor in pairs else []
        if len(levels) == 2 and pairs[factor].notna().all():
            found.append(((pairs[factor] == levels[0]).to_numpy(), [(factor, of) for of in levels]))
    return found


def _means(weights: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the weights of both subgroups' means and of their difference, (3, cells)."""
    means = weights[first].mean(axis=0), weights[~first].mean(axis=0)
    return np.vstack([*means, means[0] - means[1]])


def _depends_on(splits: list, by_level: pd.DataFrame) -> tuple[Subgroup, ...]:
    """Return the subgroups whose means differ significantly (Holm) and do not say the same.

    Those that lie furthest apart come first.
    """
    signs = np.where(by_level["p"] < LEVEL, np.sign(by_level["estimate"]), 0).astype(int)
    means, p = by_level["estimate"].tolist(), by_level["p"].tolist()
    found = [
        (
            -abs(means[at + 2]),
            [
                Subgroup(factor, level, means[at + side], int(signs[at + side]))
                for side, (factor, level) in enumerate(levels)
            ],
        )
        for (_, levels), at, adjusted in zip(
            splits, range(0, len(p), 3), stats.holm(p[2::3]), strict=True
        )
        if adjusted < LEVEL and signs[at] != signs[at + 1]
    ]
    return tuple(itertools.chain.from_iterable(two for _, two in sorted(found, key=lambda f: f[0])))
