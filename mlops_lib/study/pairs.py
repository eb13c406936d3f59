"""Pairs of times that differ in the device alone."""

from __future__ import annotations

import pandas as pd

from mlops_lib import tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import PAIRING_COLUMNS


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
