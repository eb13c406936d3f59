"""What the printed figures of a report say of its protocol, without any run of ours."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from mlops_lib import paths, tables
from mlops_lib.study import selection, sources
from mlops_lib.study.protocol import CONFIGURATION, Q2_DATASET, published
from mlops_lib.study.selection import select

TEST_SETS = (2_000, 7_000, 10_000, 14_000)  # sizes that the reports may have tested on
SHARED = ["model", "optimizer", "batch_size", "lr"]  # by Q1(a) and Q2 of report A
THOP_NORM = 4  # operations that thop counts for an element of a batch normalisation
FVCORE_NORM = 2


def granularity() -> pd.DataFrame:
    """Return which sizes of test sets allow the printed accuracies.

    Index: report, table, figures (how many have two decimals: those of one exclude nothing).
    A column for each size: how many of these it allows.
    """
    rows = []
    for table in ("q1a", "q1b", "q2"):
        told = pd.read_csv(paths.PUBLISHED / f"{table}.csv", dtype=str)
        for report, some in told.groupby("report"):
            values = some["accuracy_pct"]
            fine = [text for text in values if len(text.partition(".")[2]) > 1]
            allowed = {size: sum(_allows(size, text) for text in fine) for size in TEST_SETS}
            rows.append({"report": report, "table": table, "figures": len(fine)} | allowed)
    return pd.DataFrame(rows).set_index(["report", "table", "figures"])


def _allows(images: int, text: str) -> bool:
    """Return whether a share of so many images, in per cent, is printed as this text."""
    decimals = len(text.partition(".")[2])
    near = float(text) / 100 * images
    counts = (math.floor(near), math.ceil(near))
    return any(f"{100 * count / images:.{decimals}f}" == text for count in counts)


def across_tables() -> pd.DataFrame:
    """Return report A's accuracies of one configuration in Q1(a) and, by device, in Q2.

    Index: SHARED. Columns: q1a, cuda, cpu (per cent), and the differences cuda-q1a, cpu-q1a and
    cuda-cpu (points).
    """
    first = select(published("q1a"), report="A", dataset=Q2_DATASET)
    second = select(published("q2"), report="A")
    wide = second.pivot(index=SHARED, columns="device", values="accuracy_pct")
    table = wide.join(first.set_index(SHARED)["accuracy_pct"].rename("q1a"), how="inner")
    for one, other in (("cuda", "q1a"), ("cpu", "q1a"), ("cuda", "cpu")):
        table[f"{one}-{other}"] = table[one] - table[other]
    return table[["q1a", "cuda", "cpu", "cuda-q1a", "cpu-q1a", "cuda-cpu"]]


def batch_gaps() -> pd.DataFrame:
    """Return what batch 16 has over batch 32 in Q1(a), in points: four pairs of each network.

    Index: report, dataset, model. Columns: mean and std of the four, smallest, largest.
    """
    keys = [name for name in CONFIGURATION if name != "batch_size"]
    wide = published("q1a").pivot(index=["report", *keys], columns="batch_size")["accuracy_pct"]
    gaps = (wide[16] - wide[32]).groupby(["report", "dataset", "model"])
    return gaps.agg(mean="mean", std="std", smallest="min", largest="max")


def devices_apart(runs: pd.DataFrame) -> pd.Series:
    """Return GPU minus CPU, in points, of our complete trainings of one configuration and seed."""
    here = selection.trained(runs)
    here = selection.complete(here)
    if here.empty:
        return pd.Series(dtype=float)
    wide = here.pivot_table("test_accuracy", [*CONFIGURATION, "seed"], "device")
    wide = 100 * wide.reindex(columns=["cuda", "cpu"])
    return (wide["cuda"] - wide["cpu"]).dropna()


def falls(runs: pd.DataFrame) -> pd.Series:
    """Return by how many points the validation accuracy of complete trainings falls at most.

    From one epoch to the next; 0 where it never does. Index: CONFIGURATION.
    """
    here = selection.complete(selection.trained(runs))
    if here.empty:
        return pd.Series(dtype=float)
    falls = [sources.falls_pct(epochs).max(initial=0) for epochs in here["history"]]
    return pd.Series(falls, pd.MultiIndex.from_frame(here[CONFIGURATION]), name="fall")


def operations() -> pd.DataFrame:
    """Return multiply-adds of the networks, in 10⁹, by two counters, beside the printed ones.

    fvcore counts two operations an element of a batch normalisation, thop four. Index: network,
    images. Columns: fvcore, thop, and a column for each report that prints as much by either.
    """
    networks = pd.read_csv(paths.BOOK / "networks.csv")
    extra = (THOP_NORM - FVCORE_NORM) * networks["norm_elements"]
    images = networks["channels"].astype(str) + "x" + (2 * ("x" + networks["pixels"].astype(str)))
    table = pd.DataFrame(
        {
            "model": networks["model"],
            "images": images.str.replace("xx", "x"),
            "fvcore": networks["multiply_adds"] / 1e9,
            "thop": (networks["multiply_adds"] + extra) / 1e9,
        }
    )
    told = pd.read_csv(paths.PUBLISHED / "q2.csv", dtype=str).drop_duplicates(["report", "model"])
    for row in told.itertuples():
        decimals = len(row.gflops.partition(".")[2])
        near = [_printed(table[name], decimals) == row.gflops for name in ("fvcore", "thop")]
        found = (table["model"] == row.model) & (near[0] | near[1])
        table.loc[found, f"report {row.report}"] = row.gflops
    table["network"] = table.pop("model").map(tables.title)
    return table.replace(np.nan, "").set_index(["network", "images"])


def _printed(values: pd.Series, decimals: int) -> pd.Series:
    return values.map(f"{{:.{decimals}f}}".format)
