"""Three sources in one form: report A's tables, report B's, and the runs of this study."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import record, stats, tables
from mlops_lib.study import selection
from mlops_lib.study.protocol import (
    CONFIGURATION,
    MIN_SEEDS,
    NOT_STATED,
    PAIR_KEYS,
    PUBLISHED_EPOCHS,
    Q2_DATASET,
    Q2_IMAGES,
    SOURCES,
    published,
)

CORRECT = ["seed", "correct", "confusion_matrix"]  # of a run: which test images were right


@dataclass(frozen=True)
class Source:
    """Results in one form, from a report's tables or from our runs; accuracies in per cent.

    q1a: PAIR_KEYS, accuracy_pct; of our runs also first_epoch_pct, val_accuracy_drop_pct,
    epoch_seconds, train_seconds, low, high (of the accuracy's 95 % interval), by_seed (accuracies).
    q1b: dataset, kernel, C, train_images, accuracy_pct, seconds. Both, of our runs: right, which
    test images were classified right, bool (n,), by seed. q2: dataset, device, model, optimizer,
    input_size, seconds, gflops. timed: as q1a, of the device whose times of training are compared.
    """

    name: str
    q1a: pd.DataFrame
    q1b: pd.DataFrame
    q2: pd.DataFrame
    timed: pd.DataFrame


@lru_cache
def report(letter: str) -> Source:
    """Return what report A or B has printed."""
    q1a, q1b, q2 = (
        selection.select(published(question), report=letter) for question in ("q1a", "q1b", "q2")
    )
    # What a report does not state counts as alike in all of its rows, and as the protocol.
    q1a = q1a.assign(
        epochs=q1a["dataset"].map(PUBLISHED_EPOCHS),
        train_images=tables.ALL_IMAGES,
        device=NOT_STATED,
    )
    size = Q2_IMAGES[letter]["input_size"]
    return Source(
        f"Report {letter}",
        q1a,
        q1b.assign(seconds=q1b["train_time_ms"] / 1000, train_images=tables.ALL_IMAGES),
        q2.assign(seconds=q2["train_time_ms"] / 1000, input_size=size, dataset=Q2_DATASET),
        timed=q1a,
    )


def ours(runs: pd.DataFrame) -> Source:
    """Return our runs as `selection.choose` takes them, of ResNets the mean over their seeds.

    Times are those of runs that nothing else disturbed: trainings that shared a GPU have none.
    """
    chosen = selection.choose(runs)
    q1a, q1b, q2 = (chosen[chosen["template"] == question] for question in ("q1a", "q1b", "q2"))
    trainings = _averaged(_by_configuration(q1a[q1a["in_verdicts"]]))
    one_device = q1a["in_verdicts"].equals(q1a["in_times"])  # for accuracies and for times
    return Source(
        SOURCES[2],
        trainings,
        _searched(q1b[q1b["in_verdicts"]]),
        _on_devices(q2[q2["in_verdicts"]]),
        timed=trainings if one_device else _averaged(_by_configuration(q1a[q1a["in_times"]])),
    )


def _searched(q1b: pd.DataFrame) -> pd.DataFrame:
    """Return SVM searches as in `Source.q1b`."""
    if q1b.empty:
        return pd.DataFrame(columns=["dataset", "kernel"])
    q1b = q1b.reset_index(drop=True)
    return q1b.assign(
        right=[_right([run]) for run in q1b.to_dict("records")],
        accuracy_pct=100 * q1b["test_accuracy"],
        seconds=q1b["seconds"].where(q1b["alone"]),
        C=q1b["best_C"],
    )


def _on_devices(q2: pd.DataFrame) -> pd.DataFrame:
    """Return runs of Q2 as in `Source.q2`."""
    if q2.empty:
        return q2
    # Runs may differ in length: seconds for the same images.
    seconds = (tables.ALL_IMAGES / q2["images_per_second"]).where(q2["alone"])
    return q2.assign(seconds=seconds, gflops=q2["flops"] / 1e9)


def configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each published configuration of Q1(a) that these runs have, as in `Source`.

    Each has the same seeds: those of `selection.with_shared_seeds`.
    """
    return _averaged(selection.with_shared_seeds(runs))


def _by_configuration(q1a: pd.DataFrame) -> list[pd.DataFrame]:
    return [here for _, here in q1a.groupby(CONFIGURATION, sort=False)] if len(q1a) else []


def _averaged(trainings: list[pd.DataFrame]) -> pd.DataFrame:
    rows = [_configuration(here) for here in trainings]
    return pd.DataFrame(rows, columns=None if rows else [*PAIR_KEYS, "train_seconds"])


def _configuration(here: pd.DataFrame) -> dict[str, Any]:
    """Return one row for the runs of a configuration: means over seeds, times of one machine."""
    timed = selection.has_time(here)
    accuracy, low, high = accuracy_over_seeds(here)
    return here.iloc[0].to_dict() | {
        "accuracy_pct": accuracy,
        "low": low,
        "high": high,
        "by_seed": dict(zip(here["seed"], 100 * here["test_accuracy"], strict=True)),
        "device_names": tuple(here["device_name"].unique()),
        "right": _right(here[here.columns.intersection(CORRECT)].to_dict("records")),
        "train_seconds": float(here["seconds"].where(timed).mean()),
        **pd.DataFrame(list(map(_history, here["history"], timed))).mean().to_dict(),
    }


def accuracy_over_seeds(runs: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean accuracy of one configuration's runs and its 95 % interval, in per cent.

    With `MIN_SEEDS` or more it is Student's t, over the seeds; else Wilson's, as for one run of
    that accuracy.
    """
    if len(runs) < MIN_SEEDS:
        matrix, mean = runs["confusion_matrix"].iloc[0], runs["test_accuracy"].mean()
        return tables.accuracy_interval({"confusion_matrix": matrix, "test_accuracy": mean})
    mean, low, high = stats.mean_interval(100 * runs["test_accuracy"])
    return mean, low, min(high, 100.0)


def _right(runs: list[dict[str, Any]]) -> dict[int, np.ndarray]:
    """Return which test images the runs of a configuration got right, bool (n,), by seed."""
    return {
        run["seed"]: record.unpack_correct(run)
        for run in runs
        if isinstance(run.get("correct"), str)
    }


def _history(epochs: list[dict[str, Any]], timed: bool) -> dict[str, float]:
    """Return what the epochs of one run say, nan where they can't; times only where `timed`."""
    if not epochs:
        return dict.fromkeys(
            ("first_epoch_pct", "val_accuracy_drop_pct", "epoch_seconds"), math.nan
        )
    accuracy = 100 * pd.Series([epoch["val_accuracy"] for epoch in epochs])
    return {
        "first_epoch_pct": accuracy.iloc[0],
        # How far it falls back from one epoch to the next, on average: 0 where it only rises.
        "val_accuracy_drop_pct": accuracy.diff().clip(upper=0).abs().mean(),
        # The fastest: a machine that does something else meanwhile only makes epochs slower.
        "epoch_seconds": min(epoch["seconds"] for epoch in epochs) if timed else math.nan,
    }
