"""Three sources in one form: report A's tables, report B's, and the runs of this study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import record, stats, tables

TEST_IMAGES = 14_000
SOURCES = ("Report A", "Report B", "Our runs")
CORRECT = ["seed", "correct", "confusion_matrix"]  # of a run: which test images were right
PAIR_KEYS = [
    "dataset", "model", "batch_size", "optimizer", "lr", "epochs", "train_images", "device",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Results in one form, from a report's tables or from our runs; accuracies in per cent.

    q1a: PAIR_KEYS, accuracy_pct; of our runs also first_epoch_pct, wobble_pct, epoch_seconds,
    train_seconds, low, high (of the accuracy's 95 % interval), by_seed (accuracies). q1b: dataset,
    kernel, C, train_images, accuracy_pct, seconds. Both, of our runs: right, which test images
    were classified right, bool (n,), by seed. q2: dataset, device, model, optimizer, input_size,
    seconds, gflops. timed: as q1a, of the device whose times of training are compared.
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
        tables.select(tables.published(question), report=letter)
        for question in ("q1a", "q1b", "q2")
    )
    size = 28 if letter == "A" else 224  # its FLOPs say so
    # What a report does not state counts as alike in all of its rows, and as the protocol.
    q1a = q1a.assign(
        epochs=q1a["dataset"].map(tables.PUBLISHED_EPOCHS),
        train_images=tables.ALL_IMAGES,
        device=tables.NOT_STATED,
    )
    return Source(
        f"Report {letter}",
        q1a,
        q1b.assign(seconds=q1b["train_time_ms"] / 1000, train_images=tables.ALL_IMAGES),
        q2.assign(seconds=q2["train_time_ms"] / 1000, input_size=size, dataset="fashion_mnist"),
        timed=q1a,
    )


def ours(runs: pd.DataFrame) -> Source:
    """Return our runs: of each configuration the fullest, of ResNets the mean over their seeds.

    The ResNets are all of one device, the main one: else those of the other would pair with none.
    Times of training are of the device that has most which can be compared, of whole trainings and
    beside SVMs: runs that shared a GPU have none.
    """
    main_first = tables.main_device_first(runs)
    devices = main_first["device"].unique() if len(runs) else [None]
    of_each = [configurations(tables.select(runs, device=device)) for device in devices]
    searched = [
        run | {"right": _right([run])}
        for dataset in tables.PUBLISHED_EPOCHS
        for run in tables.searches(runs, dataset).to_dict("records")
    ]
    q1b = pd.DataFrame(searched, columns=None if searched else ["dataset", "kernel"])
    if searched:
        q1b = q1b.assign(
            accuracy_pct=100 * q1b["test_accuracy"],
            seconds=q1b["seconds"].where(q1b["alone"]),
            C=q1b["best_C"],
        )
    computers = q1b.get("cpu", ())
    timed = max(of_each, key=lambda found: _comparable(found, computers))
    return Source(SOURCES[2], of_each[0], q1b, timed_on_devices(runs), timed)


def _comparable(found: pd.DataFrame, computers: Sequence[str]) -> tuple[int, int, int]:
    """Count times of training: whole and on one of these computers, whole, and all."""
    known = found[found["train_seconds"].notna()]
    full = complete(known)
    beside = full["cpu"].isin(computers).sum() if "cpu" in full else 0
    return beside, len(full), len(known)


def timed_on_devices(runs: pd.DataFrame) -> pd.DataFrame:
    """Return our runs of Q2 by the protocol, the fullest of each device, as in `Source.q2`."""
    q2 = tables.select(runs, template="q2", dataset="fashion_mnist", **tables.PROTOCOL)
    q2 = tables.fullest_each(q2, ["device", *tables.TWINS])
    if q2.empty:
        return q2
    # Runs may differ in length: seconds for the same images.
    seconds = (tables.ALL_IMAGES / q2["images_per_second"]).where(q2["alone"])
    return q2.assign(seconds=seconds, gflops=q2["flops"] / 1e9)


def configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each published configuration of Q1(a) that these runs have.

    Each has the same seeds, those that all of them were run with (or, without such a one, the
    seed of most): as soon as some have more than others, a difference of two configurations would
    also be one of test images.
    """
    found = _fullest_of_each(runs)
    shared = _shared_seeds(found)
    alike = [here[here["seed"].isin(shared)] for here in found]
    rows = [_configuration(here) for here in alike if len(here)]
    return pd.DataFrame(rows, columns=None if rows else [*PAIR_KEYS, "train_seconds"])


def shared_seeds(runs: pd.DataFrame) -> list[int]:
    """Return the seeds that `configurations` takes of these runs."""
    return _shared_seeds(_fullest_of_each(runs))


def _fullest_of_each(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the runs, one a seed, of each published configuration of Q1(a) that has some."""
    keys = [*tables.Q1A_KEYS, "model"]
    here = tables.trained(runs)
    groups = dict(list(here.groupby(keys))) if len(here) else {}
    published = tables.published("q1a")[keys].drop_duplicates().itertuples(index=False, name=None)
    return [tables.fullest(groups[values]) for values in published if values in groups]


def _shared_seeds(found: list[pd.DataFrame]) -> list[int]:
    counts = Counter(seed for here in found for seed in here["seed"])
    most = max(counts.values(), default=0)
    shared = [seed for seed, count in counts.items() if count == most]
    return shared if most == len(found) else [min(shared)]


def repetitions(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the trainings of Q1(a) with each device and seed, those of the main device first."""
    here = tables.trained(runs)
    if here.empty:
        return {}
    here = tables.main_device_first(here.sort_values("seed", kind="stable"))
    return {
        f"{tables.title(device)}, seed {seed}": some
        for (device, seed), some in here.groupby(["device", "seed"], sort=False)
    }


def with_several_seeds(runs: pd.DataFrame, more_than: int = 1) -> pd.DataFrame:
    """Return the trainings whose configurations were run with more than so many seeds."""
    here = tables.trained(runs)
    if here.empty:
        return here
    counts = here.groupby([*tables.Q1A_KEYS, "model"])["seed"].transform("nunique")
    return here[counts > more_than]


def _configuration(here: pd.DataFrame) -> dict[str, Any]:
    """Return one row for the runs of a configuration: means over seeds, times of one machine."""
    timed = here["alone"] & tables.like_first(here, tables.MACHINE)
    accuracy, low, high = tables.accuracy_over_seeds(here)
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
        return dict.fromkeys(("first_epoch_pct", "wobble_pct", "epoch_seconds"), math.nan)
    accuracy = 100 * pd.Series([epoch["val_accuracy"] for epoch in epochs])
    return {
        "first_epoch_pct": accuracy.iloc[0],
        # How far it falls back from one epoch to the next, on average: 0 where it only rises.
        "wobble_pct": accuracy.diff().clip(upper=0).abs().mean(),
        # The fastest: a machine that does something else meanwhile only makes epochs slower.
        "epoch_seconds": min(epoch["seconds"] for epoch in epochs) if timed else math.nan,
    }


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


def beyond_chance(first: dict[str, Any], second: dict[str, Any]) -> int:
    """Say which of two results is the more accurate, 1 or -1; 0 where test images can't tell."""
    sign, p = compared(first, second)
    return sign if p < stats.LEVEL else 0


def complete(results: pd.DataFrame) -> pd.DataFrame:
    """Leave out runs of Q1 on fewer images or epochs than published; a report's are all whole."""
    if results.empty:
        return results
    epochs = tables.PUBLISHED_EPOCHS if "epochs" in results else {}
    rows = results.to_dict("records")
    return results[[not tables.extent(row, epochs.get(row["dataset"])) for row in rows]]


def pairs(
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
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the two results, rows of `table`, of each pair that `pairs` has found in it."""
    keys = [name for name in PAIR_KEYS if name in found and name != "epochs"]
    rows = {(row[factor], *(row[name] for name in keys)): row for row in table.to_dict("records")}
    pairs = found[keys].itertuples(index=False, name=None)
    return [(rows[first, *pair], rows[second, *pair]) for pair in pairs]
