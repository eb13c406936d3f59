"""Three sources in one form: report A's tables, report B's, and the runs of this study."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlops_lib import stats, tables
from mlops_lib.study import pairs, selection
from mlops_lib.study.once import once
from mlops_lib.study.protocol import (
    CONFIGURATION,
    MIN_SEEDS,
    NOT_STATED,
    PAIR_KEYS,
    PUBLISHED_EPOCHS,
    Q2_DATASET,
    Q2_IMAGES,
    SOURCES,
    SVM_TEST_IMAGES,
    TEST_IMAGES,
    published,
)

Q1A = "Q1(a)"
TIMES = ["epoch_seconds", "train_seconds"]
MEASURES = ["first_epoch_pct", "val_accuracy_drop_pct", *TIMES]


@dataclass(frozen=True)
class Source:
    """Results in one form, from a report's tables or from our runs; accuracies in per cent.

    q1a: PAIR_KEYS, accuracy_pct, table (`Q1(a)` or, as reports state accuracies there, too, `Q2`),
    trainings (how many each value is the mean of), rows (what it rests on: pages of runs, or the
    lines of a published table); of our runs also first_epoch_pct, val_accuracy_drop_pct,
    epoch_seconds, train_seconds, low, high (of the accuracy's 95 % interval), by_seed (accuracies).
    q1b: dataset, kernel, C, train_images, test_images, accuracy_pct, seconds, rows. q2: dataset,
    device, model, optimizer, input_size, seconds, gflops, rows. timed: as q1a, of the device whose
    times of training are compared.
    """

    name: str
    q1a: pd.DataFrame
    q1b: pd.DataFrame
    q2: pd.DataFrame
    timed: pd.DataFrame

    @property
    def grid(self) -> pd.DataFrame:
        """Return the results of Q1(a) alone: the reports' tables of Q2 state accuracies, too."""
        return selection.select(self.q1a, table=Q1A)

    @cached_property
    def gpu_ratios(self) -> pd.DataFrame:
        """Return `pairs.gpu_ratios` of Q2."""
        return pairs.gpu_ratios(self.q2)

    @property
    def silent(self) -> Literal["not shown", "not run"]:
        """Return the verdict on what this source holds nothing about."""
        return "not run" if self.name == SOURCES[2] else "not shown"


@lru_cache
def report(letter: str) -> Source:
    """Return what report A or B has printed."""
    q1a, q1b, q2 = (_printed(question, letter) for question in ("q1a", "q1b", "q2"))
    size = Q2_IMAGES[letter]["input_size"]
    q2 = q2.assign(seconds=q2["train_time_ms"] / 1000, input_size=size, dataset=Q2_DATASET)
    # What a report does not state counts as alike in all of its rows, and as the protocol.
    accuracies = pd.concat([q1a.assign(table=Q1A, device=NOT_STATED), q2.assign(table="Q2")])
    accuracies = accuracies.reset_index(drop=True).assign(
        epochs=lambda rows: rows["dataset"].map(PUBLISHED_EPOCHS),
        train_images=tables.ALL_IMAGES,
        trainings=1,
    )
    return Source(
        f"Report {letter}",
        accuracies,
        q1b.assign(
            seconds=q1b["train_time_ms"] / 1000,
            train_images=tables.ALL_IMAGES,
            test_images=SVM_TEST_IMAGES[letter],
        ),
        q2,
        timed=accuracies,
    )


def _printed(question: str, letter: str) -> pd.DataFrame:
    """Return a report's rows of a published table, each with its line in that file."""
    told = published(question)
    told = told.assign(rows=[(f"{question}.csv:{line}",) for line in told.index + 2])
    return selection.select(told, report=letter)


@once
def ours(runs: pd.DataFrame) -> Source:
    """Return our runs as `selection.choose` takes them, of ResNets the mean over their seeds.

    Times are those of runs that nothing else disturbed: trainings that shared a GPU have none.
    """
    return of_chosen(selection.choose(runs))


def of_chosen(chosen: pd.DataFrame) -> Source:
    """Return the runs that `selection.choose` has chosen as a source."""
    q1a, q1b, q2 = (chosen[chosen["template"] == question] for question in ("q1a", "q1b", "q2"))
    trainings = averaged(_by_configuration(q1a[q1a["in_verdicts"]]))
    one_device = q1a["in_verdicts"].equals(q1a["in_times"])  # for accuracies and for times
    return Source(
        SOURCES[2],
        trainings,
        searched(q1b[q1b["in_verdicts"]]),
        _on_devices(q2[q2["in_verdicts"]]),
        timed=trainings if one_device else averaged(_by_configuration(q1a[q1a["in_times"]])),
    )


def searched(q1b: pd.DataFrame) -> pd.DataFrame:
    """Return runs of SVMs as in `Source.q1b`."""
    if q1b.empty:
        return pd.DataFrame(columns=["dataset", "kernel"])
    q1b = q1b.reset_index(drop=True)
    return q1b.assign(
        accuracy_pct=100 * q1b["test_accuracy"],
        seconds=q1b["seconds"].where(q1b["alone"]),
        C=q1b["best_C"],
        test_images=TEST_IMAGES,
        rows=[(page,) for page in q1b["page"]],
    )


def _on_devices(q2: pd.DataFrame) -> pd.DataFrame:
    """Return runs of Q2 as in `Source.q2`."""
    if q2.empty:
        return q2
    # Runs may differ in length: seconds for the same images.
    seconds = (tables.ALL_IMAGES / q2["images_per_second"]).where(q2["alone"])
    return q2.assign(
        seconds=seconds, gflops=q2["flops"] / 1e9, rows=[(page,) for page in q2["page"]]
    )


def configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each published configuration of Q1(a) that these runs have, as in `Source`.

    Each has the same seeds: those of `selection.with_shared_seeds`.
    """
    return averaged(selection.with_shared_seeds(runs))


def _by_configuration(q1a: pd.DataFrame) -> list[pd.DataFrame]:
    return [here for _, here in q1a.groupby(CONFIGURATION, sort=False)] if len(q1a) else []


def averaged(trainings: list[pd.DataFrame]) -> pd.DataFrame:
    """Return a row for each of these configurations' runs, as in `Source.q1a`.

    Means over seeds; of times only those of one machine.
    """
    if not trainings:
        return pd.DataFrame(columns=[*PAIR_KEYS, "train_seconds"])
    number = np.repeat(np.arange(len(trainings)), list(map(len, trainings)))
    together = measured(pd.concat(trainings))
    values = together[MEASURES].copy()
    values.loc[~np.concatenate([selection.has_time(here) for here in trainings]), TIMES] = math.nan
    first = together.iloc[np.unique(number, return_index=True)[1]]
    return first.reset_index(drop=True).assign(
        **values.groupby(number).mean(),
        **pd.DataFrame([_over_seeds(here) for here in trainings]),
        table=Q1A,
    )


def _over_seeds(here: pd.DataFrame) -> dict[str, Any]:
    """Return what the runs of one configuration say together, except for means."""
    accuracy, low, high = accuracy_over_seeds(here)
    return {
        "accuracy_pct": accuracy,
        "low": low,
        "high": high,
        "by_seed": dict(zip(here["seed"], 100 * here["test_accuracy"], strict=True)),
        "trainings": len(here),
        "rows": tuple(here["page"]),
        "device_names": tuple(here["device_name"].unique()),
    }


def measured(trainings: pd.DataFrame) -> pd.DataFrame:
    """Return the trainings with what is measured of each as columns: `accuracy_pct`, `MEASURES`.

    Values that a training can't have are nan, and so are times that other work made longer.
    """
    if trainings.empty:
        return trainings
    history = pd.DataFrame(
        list(map(_history, trainings["history"], trainings["alone"])), trainings.index
    )
    return trainings.assign(
        accuracy_pct=100 * trainings["test_accuracy"],
        train_seconds=trainings["seconds"].where(trainings["alone"]),
        **history,
    )


def accuracy_over_seeds(runs: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean accuracy of one configuration's runs and its 95 % interval, in per cent.

    With `MIN_SEEDS` or more it is Student's t, over the seeds; else Wilson's, as for one run of
    that accuracy.
    """
    if len(runs) < MIN_SEEDS:
        images = int(np.sum(runs["confusion_matrix"].iloc[0]))
        mean = float(runs["test_accuracy"].mean())  # of several: not always whole images
        low, high = stats.wilson(mean * images, images)
        return 100 * mean, 100 * low, 100 * high
    mean, low, high = stats.mean_interval(100 * runs["test_accuracy"])
    return mean, low, min(high, 100.0)


def falls_pct(epochs: list[dict[str, Any]]) -> np.ndarray:
    """Return by how much validation accuracy falls from each epoch to the next, in points, or 0."""
    accuracy = 100 * np.array([epoch["val_accuracy"] for epoch in epochs])
    return np.maximum(0, -np.diff(accuracy))


def _history(epochs: list[dict[str, Any]], timed: bool) -> dict[str, float]:
    """Return what the epochs of one run say, nan where they can't; times only where `timed`."""
    if not epochs:
        return dict.fromkeys(
            ("first_epoch_pct", "val_accuracy_drop_pct", "epoch_seconds"), math.nan
        )
    falls = falls_pct(epochs)
    return {
        "first_epoch_pct": 100 * epochs[0]["val_accuracy"],
        # How far it falls back from one epoch to the next, on average: 0 where it only rises.
        "val_accuracy_drop_pct": falls.mean() if len(falls) else math.nan,
        # The fastest: a machine that does something else meanwhile only makes epochs slower.
        "epoch_seconds": min(epoch["seconds"] for epoch in epochs) if timed else math.nan,
    }
