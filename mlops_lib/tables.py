"""Records → DataFrames, and the texts that tables and pages say of a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlops_lib import paths, record
from mlops_lib.params import TEMPLATES, non_default_settings
from mlops_lib.record import Record
from mlops_lib.stats import wilson

MAX_KEPT = 1_000  # records in memory
ALONE = 0.8  # of the processor time that its threads could get, what a run alone gets at least
ALL_IMAGES = 49_000  # for training, of the 70,000
SMALLEST_DECIMAL = 0.01  # a smaller number is written with its power of ten: 1e-3
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
    """Return a run's title: `MNIST, ResNet-18, Adam 1e-3, batch 16`."""
    p = parameters
    if "kernel" in p:
        parts = [f"SVM, {title(p['kernel'])} kernel"]
    else:
        parts = [
            title(p["model"]),
            f"{title(p['optimizer'])} {value_text(p['lr'])}",
            f"batch {p['batch_size']}",
        ]
    return ", ".join([title(p["dataset"]), *parts])


def non_default_text(run: dict[str, Any], besides: Sequence[str] = ()) -> str:
    """Return the parameters, unlike their defaults, that a run's title leaves out, and `besides`.

    Of a search it is how many candidates it had.
    """
    if (run.get("candidates") or 1) > 1:
        return f"{run['candidates']:.0f} candidates"
    titled = ("dataset", "model", "optimizer", "lr", "batch_size", "kernel")
    elsewhere = ("train_size", "device")  # the columns of tables have what came of them
    return ", ".join(
        f"{name} {value_text(value)}"
        for name, value in non_default_settings(run["template"], run).items()
        if name not in (*titled, *elsewhere, *besides)
    )


def value_text(value: Any) -> str:
    """Return how text writes the value of a parameter: `1e-3`, `0.9`, `1,10`."""
    if isinstance(value, list):
        return ",".join(map(value_text, value))
    if not isinstance(value, float):
        return str(value)
    if value == 0 or abs(value) >= SMALLEST_DECIMAL or not math.isfinite(value):
        return f"{value:g}"
    digits, exponent = f"{value:e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def percent_text(percent: float, decimals: int = 2) -> str:
    """Return how text writes a share, given in per cent: `99.12 %`."""
    return f"{percent:.{decimals}f} %"


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
            found[path] = _read(path, _state(path))
        except record.RecordError as error:
            damaged[path] = str(error)
    return found, damaged


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes with a file's content; () if that can't be known, nor read."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(MAX_KEPT)
def _read(path: Path, state: tuple[int, ...]) -> Record:
    """Read a record, once for the same state of its file."""
    return record.read(path)


def all_runs(folder: Path | None = None, *, variants: bool = False) -> pd.DataFrame:
    """Return a row for every record below a folder, parameters and results as columns.

    With `variants` also those on other splits, orders, subsets or scalings than the study's own.
    """
    found = records(folder)
    return rows({path: run for path, run in found.items() if variants or not is_variant(run)})


def is_variant(run: Record) -> bool:
    """Return whether a run was on another split, order, subset or scaling than the study's own."""
    parameters = TEMPLATES[run.template](**run.parameters)
    return not parameters.identity().keys().isdisjoint(parameters.added)


def rows(found: dict[Path, Record]) -> pd.DataFrame:
    """Return a row for every record, parameters and results as columns."""
    flat = [row(run, path) for path, run in found.items()]
    table = pd.DataFrame(flat, columns=None if flat else ["template", "suite", "page"])
    # As objects, all text columns are one block: rows are taken from them in half the time.
    text = table.columns[table.dtypes == "str"]
    return table.astype(dict.fromkeys(text, object)).copy()


def row(run: Record, path: Path) -> dict[str, Any]:
    """Flatten a file's record; `epochs` is how many were asked for, `history` what each did."""
    relative = path.relative_to(path.parents[2])  # the folder of all suites
    seconds, alone = _time(run)
    best = run.results.get("best", {})
    search = run.results.get("search") or []
    return {  # in this order: nothing that a record says takes the place of what follows it
        **run.environment,
        **{f"best_{name}": value for name, value in best.items()},
        **run.results,
        **TEMPLATES[run.template]().model_dump(mode="json"),  # of a record older than a parameter
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
        "key": run.key,
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


def images_right(run: Any) -> tuple[int, int]:
    """Return how many test images a run got right, and of how many."""
    total = int(np.sum(run["confusion_matrix"]))
    return round(run["test_accuracy"] * total), total


def accuracy_interval(run: Any) -> tuple[float, float, float]:
    """Return test accuracy and its 95 % Wilson interval, in per cent."""
    right, total = images_right(run)
    low, high = wilson(right, total)
    return 100 * right / total, 100 * low, 100 * high


def accuracy_text(run: Any) -> str:
    """Return `98.42 (98.20–98.61)`: accuracy and its 95 % interval in per cent."""
    return interval_text(*accuracy_interval(run))


def interval_text(accuracy: float, low: float, high: float) -> str:
    """Return `98.42 (98.20–98.61)`: an accuracy and its interval, per cent."""
    return f"{accuracy:.2f} ({low:.2f}–{high:.2f})"


def epochs_done(results: dict[str, Any]) -> int:
    """Return how many epochs a record's results hold."""
    epochs = results.get("epochs")
    return len(epochs) if isinstance(epochs, list) else 0


def divergence(results: dict[str, Any]) -> str:
    """Return in which epoch a training stopped as a loss was no longer finite; "" if in none."""
    return f"diverged in epoch {epochs_done(results)}" if results.get("diverged") is True else ""


def device_text(run: dict[str, Any]) -> str:
    """Return the device of a run, a CPU with its threads; "" for a row of a report."""
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
    table["val_accuracy"] = (100 * table.pop("val_accuracy")).map(percent_text)
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
