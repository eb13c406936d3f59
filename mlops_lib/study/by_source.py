"""The same comparison in report A's table of Q1(a), in report B's and in our runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib.stats import LEVEL
from mlops_lib.study import effects, noise, sources
from mlops_lib.study.protocol import CONFIGURATION, SOURCES
from mlops_lib.study.selection import complete


def trainings(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the complete trainings of Q1(a) by source, of our runs those that verdicts rest on."""
    found = sources.report("A"), sources.report("B"), sources.ours(runs)
    return {name: complete(source.grid) for name, source in zip(SOURCES, found, strict=True)}


def differences(
    by_source: dict[str, pd.DataFrame], setting: str, first: Any, second: Any, spread: pd.DataFrame
) -> pd.DataFrame:
    """Compare accuracies in pairs that differ in one setting alone, by source or repetition.

    `spread` is what `noise.pooled` returns. Returns source, the other settings, difference (points)
    and significant: 1 or -1 where the difference is larger than noise explains (at 5 %,
    each pair by itself), else 0.
    """
    found = []
    for name, trained in by_source.items():
        both = effects.matched(trained, setting, first, second, "accuracy_pct")
        if both.empty:
            continue
        cells = noise.cells(trained, "accuracy_pct", spread)
        tested = noise.contrasts(effects.weights_of(both, cells), cells)
        signs = np.sign(tested["estimate"]) * (tested["p"] < LEVEL)
        both = both.drop(columns=effects.POSITIONS)
        found.append(both.assign(source=name, difference=tested["estimate"], significant=signs))
    columns = [*CONFIGURATION, "source", "difference", "significant"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def counts(found: pd.DataFrame, by: Sequence[str] = ("source",)) -> pd.DataFrame:
    """Count `differences` by these columns: pairs, ahead, behind (int), and median (points)."""
    signs = found.assign(ahead=found["difference"] > 0, behind=found["difference"] < 0)
    columns = {
        "pairs": ("difference", "size"),
        "ahead": ("ahead", "sum"),
        "behind": ("behind", "sum"),
        "median": ("difference", "median"),
    }
    return signs.groupby(list(by), sort=False).agg(**columns)
