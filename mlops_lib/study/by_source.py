"""The same comparison in report A's table, in report B's and in our runs."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlops_lib.study import pairs, sources
from mlops_lib.study.protocol import SOURCES
from mlops_lib.study.selection import complete


def results(runs: pd.DataFrame) -> dict[str, sources.Source]:
    """Return the three sources by their names, of our runs those that verdicts rest on."""
    found = sources.report("A"), sources.report("B"), sources.ours(runs)
    return dict(zip(SOURCES, found, strict=True))


def differences(
    by_source: dict[str, sources.Source], setting: str, first: Any, second: Any
) -> pd.DataFrame:
    """Compare the accuracies of Q1(a) in pairs that differ in one setting alone, by source.

    Returns source, the other settings, first and second (per cent), difference (points) and
    significantly_ahead (1, -1 or 0; each pair by itself).
    """
    tables = []
    for name, source in by_source.items():
        trained = complete(source.q1a)
        found = pairs.find(trained, setting, first, second, "accuracy_pct")
        sides = pairs.both_sides(trained, found, setting, first, second)
        signs = [pairs.significantly_ahead(*pair) for pair in sides]
        tables.append(found.assign(source=name, significantly_ahead=signs))
    return pd.concat(tables, ignore_index=True)


def counts(found: pd.DataFrame) -> pd.DataFrame:
    """Return by source: pairs, ahead (the first is), behind, and the mean difference (points)."""
    each = found.groupby("source", sort=False)["difference"]
    return pd.DataFrame(
        {
            "pairs": each.size(),
            "ahead": each.agg(lambda points: (points > 0).sum()),
            "behind": each.agg(lambda points: (points < 0).sum()),
            "mean": each.mean(),
        }
    ).reindex(SOURCES)
