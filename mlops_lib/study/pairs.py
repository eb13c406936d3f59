"""Pairs of results that differ in one setting alone, and tests of their differences."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlops_lib import tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import PAIRING_COLUMNS
from mlops_lib.study.table_cells import rate_text


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
