"""Pairs of results that differ in one setting alone, and tests of their differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import stats, tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import PAIR_KEYS, PAIRING_COLUMNS, TEST_IMAGES
from mlops_lib.study.table_cells import rate_text

Pair = tuple[dict[str, Any], dict[str, Any]]  # two results: rows of a source's table


def find(
    table: pd.DataFrame,
    factor: str,
    first: Any,
    second: Any,
    measure: str,
    free: Sequence[str] = (),
    alike: Sequence[str] = (),
) -> pd.DataFrame:
    """Return rows that differ in `factor` alone: columns of PAIR_KEYS, first, second, difference.

    `free` are further columns in which they may differ, `alike` in which they may not, either.
    """
    keys = [name for name in (*PAIR_KEYS, *alike) if name != factor and name not in free]
    if measure not in table or factor not in table:
        return pd.DataFrame(columns=[*keys, "first", "second", "difference"])
    sides = [
        table[table[factor] == value].set_index(keys)[[measure]].rename(columns={measure: name})
        for value, name in ((first, "first"), (second, "second"))
    ]
    joined = sides[0].join(sides[1], how="inner").dropna().reset_index()
    return joined.assign(difference=joined["first"] - joined["second"])


def both_sides(
    table: pd.DataFrame, found: pd.DataFrame, factor: str, first: Any, second: Any
) -> list[Pair]:
    """Return the two results, rows of `table`, of each pair that `find` has found in it."""
    keys = [name for name in PAIR_KEYS if name in found and name != "epochs"]
    rows = {(row[factor], *(row[name] for name in keys)): row for row in table.to_dict("records")}
    values = found[keys].itertuples(index=False, name=None)
    return [(rows[first, *shared], rows[second, *shared]) for shared in values]


def mcnemar(first: dict[str, Any], second: dict[str, Any]) -> tuple[int, int, float] | None:
    """Compare two results image by image, over all seeds that both have.

    None where they share no test images: a report's, or runs of other seeds or datasets.
    """
    shared = _on_shared_images(first, second)
    return stats.mcnemar(*shared) if shared else None


def points_ahead(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Return the difference of two accuracies: on the images that both share, where they do."""
    shared = _on_shared_images(first, second)
    if shared is None:
        return first["accuracy_pct"] - second["accuracy_pct"]
    return 100 * float(shared[0].mean() - shared[1].mean())


def _on_shared_images(
    first: dict[str, Any], second: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return which of the test images that two results share each got right, over their seeds."""
    here, there = first.get("right", {}), second.get("right", {})
    shared = [seed for seed in here if seed in there and len(here[seed]) == len(there[seed])]
    if first["dataset"] != second["dataset"] or not shared:
        return None
    first_right, second_right = (np.concatenate([of[i] for i in shared]) for of in (here, there))
    return first_right, second_right


def compared(first: dict[str, Any], second: dict[str, Any]) -> tuple[int, float]:
    """Return which of two results is the more accurate (1, -1, or 0), and the p of that.

    By McNemar's test where they share their test images, else as two proportions.
    """
    if tested := mcnemar(first, second):
        only_first, only_second, p = tested
        return int(np.sign(only_first - only_second)), p
    shares = first["accuracy_pct"] / 100, second["accuracy_pct"] / 100
    return int(np.sign(shares[0] - shares[1])), stats.two_proportions(*shares, TEST_IMAGES)


def significantly_ahead(first: dict[str, Any], second: dict[str, Any]) -> int:
    """Return which of two results is significantly more accurate (5 %): 1, -1, or 0 for neither."""
    sign, p = compared(first, second)
    return sign if p < stats.LEVEL else 0


def gpu_ratios(timed: pd.DataFrame) -> pd.DataFrame:
    """Return how many times faster a GPU was than a CPU, for each configuration timed on both.

    `timed` has the columns device, seconds and any of PAIRING_COLUMNS and MACHINE; the result has
    those of PAIRING_COLUMNS, ratio, and devices: which GPU against which CPU, "" where that is not
    stated.
    """
    keys = [name for name in PAIRING_COLUMNS if name in timed]
    if timed.empty:
        return pd.DataFrame(columns=[*PAIRING_COLUMNS, "ratio", "devices"])
    timed = (
        selection.stated(timed, keys)
        .assign(
            device=timed["device"],
            seconds=timed["seconds"],
            name=[tables.device_text(run) for run in timed.to_dict("records")],
        )
        .dropna(subset="seconds")
    )
    first = timed.groupby([*keys, "device"])["name"].transform("first")
    timed = timed[timed["name"] == first]  # times of one machine
    cpu, gpu = (
        selection.select(timed, device=device)
        .groupby(keys, as_index=False)
        .agg(seconds=("seconds", "mean"), name=("name", "first"))
        for device in ("cpu", "cuda")
    )
    both = cpu.merge(gpu, on=keys, suffixes=("_cpu", "_gpu"))
    both["devices"] = (both["name_gpu"] + " against " + both["name_cpu"]).where(
        both["name_cpu"] != "", ""
    )
    return both.assign(ratio=both["seconds_cpu"] / both["seconds_gpu"])[[*keys, "ratio", "devices"]]


def setting_text(name: str, value: Any) -> str:
    """Return how text names the value of a setting: `batch size 16`, `Adam`, `1e-3`."""
    if name == "lr":
        return rate_text(value)
    words = {"batch_size": "batch size", "C": "C"}
    return f"{words[name]} {value:g}" if name in words else tables.title(value)


def over(name: str, first: Any, second: Any) -> str:
    """Return the two values of a setting that are compared: `Adam over SGD`."""
    kind = {"lr": "learning rate ", "batch_size": "batch size "}.get(name, "")
    one, other = (setting_text(name, value).removeprefix(kind) for value in (first, second))
    return f"{kind}{one} over {other}"
