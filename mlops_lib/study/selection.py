"""Which runs count: the table of all runs → the same table with what each run is taken for.

`choose` decides it once, for tables, verdicts and times. The rules that it applies stand below it;
a page that compares other runs (of one device, one seed or another momentum) applies them to these.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import tables
from mlops_lib.study.once import once
from mlops_lib.study.protocol import (
    CONFIGURATION,
    KERNELS,
    MACHINE,
    NOT_STATED,
    PAIRING_COLUMNS,
    PROTOCOL,
    PUBLISHED_EPOCHS,
    Q2_DATASET,
    USUAL,
    published_configurations,
)

TAKEN_FOR = ("in_tables", "in_verdicts", "in_times")


@once
def choose(runs: pd.DataFrame) -> pd.DataFrame:
    """Return all runs in the reports' order, with three columns of what each is taken for, bool.

    in_tables: the fullest runs of each published configuration of Q1, one a seed; where trainings
    on several devices are as full, those on the main one. in_verdicts: the trainings on the main
    device alone (else those on another would pair with none) with the seeds that all configurations
    share; of the SVM searches one seed; the fullest runs of Q2 on each device. in_times: the
    trainings on the device that has most whose times can be compared, complete and on a computer
    that also fitted SVMs.
    """
    runs = runs.reset_index(drop=True)
    if runs.empty:
        return runs.assign(**dict.fromkeys(TAKEN_FOR, pd.Series(dtype=bool)))
    main_first = main_device_first(runs)
    of_each = [
        with_shared_seeds(select(runs, device=device)) for device in main_first["device"].unique()
    ]
    found = searches(runs)
    # Of several seeds the first: the best of them would be too good.
    svms = [search.iloc[:1] for search in found]
    computers = [cpu for search in svms for cpu in search.get("cpu", ())]
    timed = max(of_each, key=lambda trainings: _times(trainings, computers))
    judged = [*of_each[0], *svms, on_each_device(runs)]
    taken = [*by_configuration(main_first), *found], judged, timed
    columns = {
        name: runs.index.isin([label for part in parts for label in part.index])
        for name, parts in zip(TAKEN_FOR, taken, strict=True)
    }
    return _in_published_order(runs.assign(**columns))


def _in_published_order(runs: pd.DataFrame) -> pd.DataFrame:
    """Sort runs by configuration of Q1(a), or dataset and kernel of Q1(b), and by seed."""
    order = [*published_configurations(), *itertools.product(PUBLISHED_EPOCHS, KERNELS)]
    ranks = {values: rank for rank, values in enumerate(order)}
    names = {"q1a": CONFIGURATION, "q1b": ["dataset", "kernel"], "q2": []}
    values = [
        tuple(run[name] for name in names[run["template"]]) for run in runs.to_dict("records")
    ]
    rank = [ranks.get(of_run, len(order)) for of_run in values]
    return runs.assign(rank=rank).sort_values(["rank", "seed"], kind="stable").drop(columns="rank")


def _times(trainings: list[pd.DataFrame], computers: list[str]) -> tuple[int, int, int]:
    """Count configurations with a time: complete and on these computers, complete, and all."""
    timed = [here for here in trainings if here["seconds"].where(has_time(here)).notna().any()]
    known = pd.DataFrame([here.iloc[0] for here in timed])
    full = complete(known)
    beside = full["cpu"].isin(computers).sum() if "cpu" in full else 0
    return beside, len(full), len(known)


def has_time(trainings: pd.DataFrame) -> pd.Series:
    """Return which trainings of a configuration have times that count: all are of one machine."""
    return trainings["alone"] & like_first(trainings, MACHINE)


def select(runs: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Return the runs whose columns have these values; none where a column is missing."""
    if not wanted.keys() <= set(runs):
        return runs.iloc[:0]
    equal = [runs[name] == value for name, value in wanted.items()]
    return runs[np.logical_and.reduce(equal)] if equal else runs


def alone(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs whose time can be compared: no other work took their processor time."""
    return select(runs, alone=True)


def trained(runs: pd.DataFrame, **configuration: Any) -> pd.DataFrame:
    """Return the runs of Q1(a) with this configuration and, in what it leaves open, `USUAL`.

    Those of more epochs than published are left out.
    """
    runs = select(runs, template="q1a", **USUAL | configuration)
    if runs.empty:
        return runs
    return runs[~(runs["epochs"] > runs["dataset"].map(PUBLISHED_EPOCHS))]


def fullest(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that did most, one a seed: images, candidates of a search, epochs.

    All are of the device and precision of the first; the seeds ascend.
    """
    if runs.empty:
        return runs
    counts = ("train_images", "candidates", "epochs")
    order = [name for name in counts if name in runs and runs[name].notna().all()]
    if order:  # several columns are sorted stably: what stood first among the fullest still does
        runs = runs.sort_values(order, ascending=False, kind="stable")
    alike = runs[like_first(runs, [*order, "device", "amp_dtype"])]
    return alike.sort_values("seed", kind="stable").drop_duplicates("seed")


def like_first(runs: pd.DataFrame, names: list[str]) -> pd.Series:
    """Return which runs have the values of the first, missing ones included, in these columns."""
    alike = np.full(len(runs), True)
    for name in filter(runs.__contains__, names):
        values = runs[name].to_numpy(object)
        alike &= pd.isna(values) if pd.isna(values[0]) else values == values[0]
    return pd.Series(alike, runs.index)


def stated(runs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return these columns with a word for what is missing: such values are equal."""
    return runs[names].astype(object).where(runs[names].notna(), NOT_STATED)


def fullest_each(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the `fullest` runs of every configuration, as these columns tell them apart."""
    if runs.empty:
        return runs
    return pd.concat([fullest(some) for _, some in runs.groupby(keys, dropna=False, sort=False)])


def by_configuration(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the fullest runs of each published configuration of Q1(a) that has some."""
    here = trained(runs)
    groups = dict(list(here.groupby(CONFIGURATION))) if len(here) else {}
    return [fullest(groups[values]) for values in published_configurations() if values in groups]


def with_shared_seeds(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the runs of each published configuration of Q1(a), all with the same seeds.

    These are the seeds that all of them were run with (or, without such a one, the seed of most):
    as soon as some have more than others, a difference of two configurations would also be one of
    test images.
    """
    found = by_configuration(runs)
    shared = _shared_seeds(found)
    alike = [here[here["seed"].isin(shared)] for here in found]
    return [here for here in alike if len(here)]


def _shared_seeds(found: list[pd.DataFrame]) -> list[int]:
    counts = Counter(seed for here in found for seed in here["seed"])
    most = max(counts.values(), default=0)
    shared = [seed for seed, count in counts.items() if count == most]
    return shared if most == len(found) else [min(shared)]


def searches(runs: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the fullest SVM searches, one a seed, of each published dataset and kernel."""
    found = [
        fullest(select(runs, template="q1b", dataset=dataset, kernel=kernel))
        for dataset in PUBLISHED_EPOCHS
        for kernel in KERNELS
    ]
    return [some for some in found if len(some)]


def on_each_device(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the fullest runs of Q2 by the protocol, of each configuration and device."""
    q2 = select(runs, template="q2", dataset=Q2_DATASET, **PROTOCOL)
    return fullest_each(q2, ["device", *PAIRING_COLUMNS])


def main_device(runs: pd.DataFrame) -> str | None:
    """Return the device with most complete configurations of Q1(a); where equal, with most of any.

    Where that is equal, too, it is the one with most seeds that all of its complete ones have.
    """
    here = trained(runs)
    if here.empty:
        return None
    published = pd.DataFrame(published_configurations(), columns=CONFIGURATION)
    here = here.merge(published)
    full = [not extent(run, PUBLISHED_EPOCHS[run["dataset"]]) for run in here.to_dict("records")]
    names = zip(*map(here.get, CONFIGURATION), strict=True)
    here = here.assign(full=full, configuration=list(names))
    counts = {}
    for device, some in here.groupby("device"):
        finished = some[some["full"]]
        most, begun = finished["configuration"].nunique(), some["configuration"].nunique()
        by_seed = finished.groupby("seed")["configuration"].nunique()
        counts[device] = most, begun, (by_seed == most).sum()
    return max(sorted(counts, reverse=True), key=counts.__getitem__, default=None)


def main_device_first(runs: pd.DataFrame) -> pd.DataFrame:
    """Put the runs of `main_device` before the others: of what is equally full, they are taken."""
    if runs.empty:
        return runs
    return runs.sort_values("device", key=lambda names: names != main_device(runs), kind="stable")


def repetitions(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the trainings of Q1(a) with each device and seed, those of the main device first."""
    here = trained(runs)
    if here.empty:
        return {}
    here = main_device_first(here.sort_values("seed", kind="stable"))
    return {
        f"{tables.title(device)}, seed {seed}": some
        for (device, seed), some in here.groupby(["device", "seed"], sort=False)
    }


def of_all_images(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs on all training images of a published dataset's size."""
    return runs[runs["train_images"] >= tables.ALL_IMAGES] if len(runs) else runs


def complete(results: pd.DataFrame) -> pd.DataFrame:
    """Leave out results of Q1 from fewer images or epochs than published; a report's all stay."""
    if results.empty:
        return results
    epochs = PUBLISHED_EPOCHS if "epochs" in results else {}
    names = results.columns.intersection(["dataset", "epochs", "train_images"])
    rows = results[names].to_dict("records")
    return results[[not extent(row, epochs.get(row["dataset"])) for row in rows]]


def extent(run: Any, published_epochs: int | None = None) -> str:
    """Return on how much less than the published protocol a run was trained; "" if on all."""
    parts = []
    if published_epochs and run["epochs"] < published_epochs:
        plural = "" if run["epochs"] == 1 else "s"
        parts.append(f"{run['epochs']:.0f} epoch{plural} of {published_epochs}")
    if run.get("train_images", tables.ALL_IMAGES) < tables.ALL_IMAGES:
        of = f" of {tables.ALL_IMAGES:,}" if run.get("dataset") in PUBLISHED_EPOCHS else ""
        parts.append(f"{run['train_images']:,.0f} images{of}")
    return ", ".join(parts)
