"""Records and the published CSV files → DataFrames."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import paths, record
from mlops_lib.record import Record
from mlops_lib.stats import mean_interval, wilson

NOT_RUN = "not run"
NOT_STATED = "not stated"
ALONE = 0.8  # of the processor time that its threads could get, what a run alone gets at least
ALL_IMAGES = 49_000  # for training, of the 70,000
PUBLISHED_EPOCHS = {"mnist": 5, "fashion_mnist": 10}  # report B; report A states none
PROTOCOL = {"momentum": 0.9, "amp": "auto", "input_pipeline": "resident"}  # of what is compared
USUAL = PROTOCOL | {"input_size": 28, "in_channels": 1}  # how the published grid is run
TWINS = ["model", "optimizer", "lr", "batch_size", "input_size", "in_channels"]
SEEDS = 3  # that an interval over seeds takes: with two, it would say next to nothing
MACHINE = ["device_name", "threads"]  # times are compared on
Q1A_KEYS = ["dataset", "batch_size", "optimizer", "lr"]
MODELS = ("resnet18", "resnet50")
KERNELS = ("rbf", "poly")
TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "digits": "digits",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "sgd": "SGD",
    "adam": "Adam",
    "rbf": "RBF",
    "poly": "polynomial",
    "cpu": "CPU",
    "cuda": "GPU",
}


def title(value: Any) -> str:
    """Return how text names a value: `resnet18` → `ResNet-18`."""
    return TITLES.get(value, str(value))


def run_title(parameters: dict[str, Any]) -> str:
    """Return a run's title: `MNIST, ResNet-18, Adam 0.001, batch 16`."""
    p = parameters
    if "kernel" in p:
        parts = [f"SVM, {title(p['kernel'])} kernel"]
    else:
        parts = [
            title(p["model"]),
            f"{title(p['optimizer'])} {p['lr']:g}",
            f"batch {p['batch_size']}",
        ]
    return ", ".join([title(p["dataset"]), *parts])


def records(folder: Path | None = None) -> dict[Path, Record]:
    """Read every record below a folder (`book/runs/`), by its path.

    A file that is damaged or foreign is left out with a warning that names it.
    """
    found, damaged = sound_and_damaged(folder)
    for error in damaged.values():
        warnings.warn(f"left out: {error}", stacklevel=2)
    return found


def sound_and_damaged(folder: Path | None = None) -> tuple[dict[Path, Record], dict[Path, str]]:
    """Return the records below a folder by their paths, and what is wrong with the other files."""
    found, damaged = {}, {}
    for path in sorted((folder or paths.runs()).glob("*/*/*.json")):
        try:
            found[path] = record.read(path)
        except record.RecordError as error:
            damaged[path] = str(error)
    return found, damaged


def all_runs(folder: Path | None = None) -> pd.DataFrame:
    """Return a row for every record below a folder, parameters and results as columns."""
    folder = folder or paths.runs()
    rows = [_row(run, path, folder) for path, run in records(folder).items()]
    return pd.DataFrame(rows, columns=None if rows else ["template", "suite", "page"])


def _row(run: Record, path: Path, folder: Path) -> dict[str, Any]:
    """Flatten a record; `epochs` is how many were asked for, `history` what each of them did."""
    relative = path.relative_to(folder)
    seconds, alone = _time(run)
    best = run.results.get("best", {})
    search = run.results.get("search") or []
    return {  # in this order: nothing that a record says takes the place of what follows it
        **run.environment,
        **{f"best_{name}": value for name, value in best.items()},
        **run.results,
        **run.parameters,
        "history": run.results.get("epochs"),
        "epochs_done": epochs_done(run.results) or run.parameters.get("epochs"),
        "divergence": divergence(run.results),
        "device": run.environment["device"],
        "device_name": run.environment["device_name"],
        "train_images": run.results.get("train_images")
        or run.parameters["train_size"]
        or ALL_IMAGES,
        "candidates": len(search) or None,
        "search_seconds": sum(candidate["fit_seconds"] for candidate in search) or seconds,
        "duration_seconds": run.duration_seconds,
        "seconds": seconds,
        "alone": alone,
        "template": run.template,
        "suite": relative.parts[0],
        "page": relative.with_suffix("").as_posix(),
        "title": run_title(run.parameters),
    }


def _time(run: Record) -> tuple[float, bool]:
    """Return the seconds of training or fitting, and whether no other work took part of them."""
    name = "fit" if run.template == "q1b" else "train"
    seconds = run.results[f"{name}_seconds"]
    used = run.results.get(f"{name}_cpu_seconds")
    fits_on_one = run.results.get("backend") == "libsvm"
    threads = 1 if fits_on_one else run.environment.get("threads")
    if run.environment["device"] != "cpu":
        return seconds, not run.environment.get("device_shared")
    if used is None or threads is None:
        return seconds, True
    return seconds, used >= ALONE * seconds * threads


def alone(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs whose time can be compared: no other work took their processor time."""
    return select(runs, alone=True)


def select(runs: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Return the runs whose columns have these values; none where a column is missing."""
    if not wanted.keys() <= set(runs):
        return runs.iloc[:0]
    equal = [runs[name] == value for name, value in wanted.items()]
    return runs[np.logical_and.reduce(equal)] if equal else runs


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
    """Say which runs have the values of the first, missing ones included, in these columns."""
    if len(runs) == 1:
        return pd.Series(True, runs.index)
    here = _stated(runs, [name for name in names if name in runs])
    return (here == here.iloc[0]).all(axis=1)


def _stated(runs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return these columns with a word for what is missing: such values are equal."""
    return runs[names].astype(object).where(runs[names].notna(), NOT_STATED)


def fullest_each(runs: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the `fullest` runs of every configuration, as these columns tell them apart."""
    if runs.empty:
        return runs
    return pd.concat([fullest(some) for _, some in runs.groupby(keys, dropna=False, sort=False)])


def searches(runs: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return the fullest SVM search of each kernel, in the order of `KERNELS`.

    Of several seeds it is the first: the best of them would be too good.
    """
    found = [
        fullest(select(runs, template="q1b", dataset=dataset, kernel=kernel)).iloc[:1]
        for kernel in KERNELS
    ]
    return pd.concat([some for some in found if len(some)] or found[:1])


def published(question: str) -> pd.DataFrame:
    """Return a published table (`q1a`, `q1b`, `q2`) as it was printed, both reports together."""
    return pd.read_csv(paths.PUBLISHED / f"{question}.csv")


def images_right(run: Any) -> tuple[int, int]:
    """Return how many test images a run got right, and of how many."""
    total = int(np.sum(run["confusion_matrix"]))
    return round(run["test_accuracy"] * total), total


def accuracy_interval(run: Any) -> tuple[float, float, float]:
    """Return test accuracy and its 95 % Wilson interval, in per cent."""
    right, total = images_right(run)
    low, high = wilson(right, total)
    return 100 * right / total, 100 * low, 100 * high


def accuracy_over_seeds(runs: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean accuracy of one configuration's runs and its 95 % interval, in per cent.

    With `SEEDS` or more Student's t, over the seeds; else Wilson's, as of one run of that accuracy.
    """
    if len(runs) < SEEDS:
        matrix, mean = runs["confusion_matrix"].iloc[0], runs["test_accuracy"].mean()
        return accuracy_interval({"confusion_matrix": matrix, "test_accuracy": mean})
    mean, low, high = mean_interval(100 * runs["test_accuracy"])
    return mean, low, min(high, 100.0)


def accuracy_text(run: Any) -> str:
    """Return `98.42 (98.20–98.61)`: accuracy and its 95 % interval in per cent."""
    return interval_text(*accuracy_interval(run))


def interval_text(accuracy: float, low: float, high: float) -> str:
    """Write an accuracy and its interval, per cent."""
    return f"{accuracy:.2f} ({low:.2f}–{high:.2f})"


def extent(run: Any, published_epochs: int | None = None) -> str:
    """Say on how much less than the published protocol a run was trained; nothing if on all."""
    parts = []
    if published_epochs and run["epochs"] < published_epochs:
        plural = "" if run["epochs"] == 1 else "s"
        parts.append(f"{run['epochs']:.0f} epoch{plural} of {published_epochs}")
    if run.get("train_images", ALL_IMAGES) < ALL_IMAGES:
        of = f" of {ALL_IMAGES:,}" if run.get("dataset") in PUBLISHED_EPOCHS else ""
        parts.append(f"{run['train_images']:,.0f} images{of}")
    return ", ".join(parts)


def epochs_done(results: dict[str, Any]) -> int:
    """Return how many epochs a record's results hold."""
    epochs = results.get("epochs")
    return len(epochs) if isinstance(epochs, list) else 0


def divergence(results: dict[str, Any]) -> str:
    """Say in which epoch a training stopped because its loss was no longer finite, if it did."""
    return f"diverged in epoch {epochs_done(results)}" if results.get("diverged") is True else ""


def trained(runs: pd.DataFrame, **configuration: Any) -> pd.DataFrame:
    """Return the runs of Q1(a) with this configuration and, in what it leaves open, `USUAL`.

    Those of more epochs than published are none of them.
    """
    runs = select(runs, template="q1a", **USUAL | configuration)
    if runs.empty:
        return runs
    return runs[~(runs["epochs"] > runs["dataset"].map(PUBLISHED_EPOCHS))]


def main_device(runs: pd.DataFrame) -> str | None:
    """Return the device with most whole configurations of Q1(a); where equal, with most of any.

    Where that is equal, too, it is the one with most seeds that all of its whole ones have.
    """
    keys = [*Q1A_KEYS, "model"]
    here = trained(runs)
    if here.empty:
        return None
    here = here.merge(published("q1a")[keys].drop_duplicates())
    whole = [not extent(run, PUBLISHED_EPOCHS[run["dataset"]]) for run in here.to_dict("records")]
    here = here.assign(whole=whole, configuration=list(zip(*map(here.get, keys), strict=True)))
    counts = {}
    for device, some in here.groupby("device"):
        complete = some[some["whole"]]
        most, begun = complete["configuration"].nunique(), some["configuration"].nunique()
        by_seed = complete.groupby("seed")["configuration"].nunique()
        counts[device] = most, begun, (by_seed == most).sum()
    return max(sorted(counts, reverse=True), key=counts.__getitem__, default=None)


def main_device_first(runs: pd.DataFrame) -> pd.DataFrame:
    """Put the runs of `main_device` before the others: of what is equally full, they are shown."""
    if runs.empty:
        return runs
    return runs.sort_values("device", key=lambda names: names != main_device(runs), kind="stable")


def gpu_ratios(timed: pd.DataFrame) -> pd.DataFrame:
    """Return how many times faster a GPU was than a CPU, for each configuration timed on both.

    `timed` has the columns device, seconds and any of TWINS and MACHINE; the result has those of
    TWINS, ratio, and devices: which GPU against which CPU, nothing where that is not stated.
    """
    keys = [name for name in TWINS if name in timed]
    if timed.empty:
        return pd.DataFrame(columns=[*TWINS, "ratio", "devices"])
    timed = (
        _stated(timed, keys)
        .assign(
            device=timed["device"],
            seconds=timed["seconds"],
            name=[device_text(run) for run in timed.to_dict("records")],
        )
        .dropna(subset="seconds")
    )
    first = timed.groupby([*keys, "device"])["name"].transform("first")
    timed = timed[timed["name"] == first]  # times of one machine
    cpu, gpu = (
        select(timed, device=device)
        .groupby(keys, as_index=False)
        .agg(seconds=("seconds", "mean"), name=("name", "first"))
        for device in ("cpu", "cuda")
    )
    both = cpu.merge(gpu, on=keys, suffixes=("_cpu", "_gpu"))
    both["devices"] = (both["name_gpu"] + " against " + both["name_cpu"]).where(
        both["name_cpu"] != "", ""
    )
    return both.assign(ratio=both["seconds_cpu"] / both["seconds_gpu"])[[*keys, "ratio", "devices"]]


def device_text(run: dict[str, Any]) -> str:
    """Name the device of a run, a CPU with its threads; nothing of a report's row."""
    name, threads = run.get("device_name", ""), run.get("threads")
    if run["device"] != "cpu" or not threads or pd.isna(threads):
        return name
    return f"{name}, {threads:.0f} thread{'' if threads == 1 else 's'}"


def per_class(matrix: Any, names: tuple[str, ...]) -> pd.DataFrame:
    """Return precision and recall of each class from a confusion matrix (true, predicted)."""
    matrix = np.asarray(matrix, dtype=float)
    with np.errstate(invalid="ignore"):
        precision = matrix.diagonal() / matrix.sum(axis=0)
        recall = matrix.diagonal() / matrix.sum(axis=1)
    return (
        pd.DataFrame(
            {"class": names, "precision": precision, "recall": recall, "images": matrix.sum(axis=1)}
        )
        .set_index("class")
        .astype({"images": int})
        .round(4)
    )


def search(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the candidates of an SVM search, the best on the validation split first."""
    table = pd.DataFrame(rows).sort_values("val_accuracy", ascending=False, kind="stable")
    table = table.drop(columns="fit_cpu_seconds", errors="ignore")
    table["val_accuracy"] = (100 * table.pop("val_accuracy")).map("{:.2f} %".format)
    seconds = {name: 2 for name in table if name.endswith("_seconds")}
    return table.round(seconds).fillna("").set_index("C")


def compare(first: Record, second: Record) -> pd.DataFrame:
    """Return the parameters, results and environment in which two runs differ, and their code.

    Only runs of equal parameters show whether their notebooks' code differs: by their keys.
    """
    alike = (first.template, first.parameters) == (second.template, second.parameters)
    sides = [
        {"template": run.template, "key of the code": run.key[:12] if alike else ""}
        | {
            f"{part}.{name}": value
            for part in ("parameters", "results", "environment")
            for name, value in getattr(run, part).items()
            if name != "correct" and not (part == "results" and isinstance(value, list))
        }
        for run in (first, second)
    ]
    # A value that the other run's template has not is shown as nothing.
    table = pd.DataFrame(sides, index=["first", "second"], dtype=object).T
    table = table.where(table.notna(), None)
    return table[[a != b for a, b in table.to_numpy()]].fillna("")
