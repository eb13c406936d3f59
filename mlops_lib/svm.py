"""Support vector machines: search on the validation split, fit, predict.

Fitting is libsvm's (through scikit-learn) or, several times faster with the same support
vectors, that of Intel's extension for scikit-learn. Predictions are libsvm's one-against-one
vote, computed by `fast.svm_vote` (Cortes & Vapnik, 1995; Chang & Lin, 2011).
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from mlops_lib import checkpoint as checkpoints
from mlops_lib import fast, machine
from mlops_lib.fast.svm_vote import BlockSVC
from mlops_lib.params import ParameterError
from mlops_lib.progress import bar

CODE = checkpoints.code_hash("svm.py", "fast/svm_vote.py")
SAVE_SECONDS = 60  # at least, between two checkpoints of a search


def require(backend: str) -> None:
    """Raise ParameterError where the extension is asked for, and absent or switched off."""
    if backend == "intelex" and choose_backend("auto") != "intelex":
        reason = (
            "scikit-learn-intelex is not installed here"
            if fast.is_on()
            else f"{fast.VARIABLE}=off leaves scikit-learn-intelex out"
        )
        raise ParameterError(f"backend='intelex' is not allowed: {reason}; use 'auto' or 'libsvm'")


def choose_backend(backend: str) -> str:
    """Return `intelex` or `libsvm`: `auto` is the extension where it is installed and wanted."""
    if backend == "auto":
        return "intelex" if fast.is_on() and find_spec("sklearnex") else "libsvm"
    return backend


def classifier(backend: str) -> Callable[..., Any]:
    """Return what makes an estimator; the first import takes a second.

    On one thread the extension sums in another order; on two or more its answers are the same,
    whatever the number.
    """
    if choose_backend(backend) == "intelex":
        from sklearnex.svm import SVC

        return functools.partial(SVC, n_jobs=max(2, machine.threads()))
    from sklearn.svm import SVC

    return SVC


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    kernel: str,
    C: float,
    degree: int = 3,
    gamma: float | str = "scale",
    backend: str = "auto",
) -> Any:
    """Fit a support vector classifier to features, float (n, d), and labels, int (n,).

    The kernels are `exp(-gamma |x - y|²)` for `rbf`, `(gamma x·y)^degree` for `poly`; gamma is
    a number, `scale` (1 / (d · variance)) or `auto` (1 / d).
    Returns an estimator with `.predict(features)`, int (n,); with `MLOPS_FAST=off` it is
    scikit-learn's own. Raises ValueError for another kernel
    or backend and for numbers of 0 or less, ParameterError for a backend that is not installed.
    """
    for name, value, allowed in (
        ("kernel", kernel, ("poly", "rbf")),
        ("backend", backend, ("auto", "libsvm", "intelex")),
    ):
        if value not in allowed:
            raise ValueError(f"{name}={value!r} is not allowed: use {' or '.join(allowed)}")
    for name, number in (("C", C), ("degree", degree), ("gamma", gamma)):
        if not isinstance(number, str) and not number > 0:
            raise ValueError(f"{name}={number!r} is not allowed: use a number above 0")
    require(backend)
    estimator = classifier(backend)(kernel=kernel, C=C, degree=degree, gamma=gamma, cache_size=1000)
    estimator.fit(features, labels)
    return BlockSVC(estimator, kernel, degree) if fast.is_on() else estimator


def candidates(
    kernel: str, C: Sequence[float], degree: Sequence[int], gamma: Sequence[float | str]
) -> Iterator[dict]:
    """Yield every combination once; `degree` matters to the polynomial kernel alone."""
    degrees = degree if kernel == "poly" else [None]
    for c, d, g in itertools.product(C, degrees, gamma):
        yield {"C": c, "degree": d, "gamma": g}


def search(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    grid: Sequence[dict],
    *,
    kernel: str,
    backend: str = "auto",
    checkpoint: Path | None = None,
) -> tuple[list[dict], dict, Any]:
    """Fit every candidate on `train` and score it on `val`, both (features, labels).

    Returns a row for each candidate, the best row (the first where equal) and its estimator.
    An interrupted search resumes from the file `checkpoint`, written about every minute; the best
    candidate is fitted again if its fit was before the interruption.
    """
    by = _made_by(backend, train, val) if checkpoint else {}
    rows = _resume(checkpoint, grid, by)
    best_accuracy = max((row["val_accuracy"] for row in rows), default=-1)
    classifier(backend)  # imported before a clock runs
    best_estimator, saved = None, time.perf_counter()
    for candidate in bar(grid[len(rows) :], desc="candidates", unit=" fits"):
        row, estimator = _try(train, val, candidate, kernel, backend)
        rows.append(row)
        if row["val_accuracy"] > best_accuracy:
            best_accuracy, best_estimator = row["val_accuracy"], estimator
        if checkpoint and time.perf_counter() - saved > SAVE_SECONDS:
            checkpoints.save(checkpoint, {"rows": rows, "by": by})
            saved = time.perf_counter()
    best = max(rows, key=lambda row: row["val_accuracy"])
    if best_estimator is None:
        candidate = {name: best[name] for name in grid[0]}
        _, best_estimator = _try(train, val, candidate, kernel, backend)
    return rows, best, best_estimator


def _try(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    candidate: dict,
    kernel: str,
    backend: str,
) -> tuple[dict, Any]:
    """Fit one candidate; return its row and its estimator."""
    start, start_cpu = time.perf_counter(), time.process_time()
    options = {name: value for name, value in candidate.items() if value is not None}
    estimator = fit(*train, kernel=kernel, backend=backend, **options)
    fitted, fitted_cpu = time.perf_counter(), time.process_time()
    accuracy = float(np.mean(estimator.predict(val[0]) == val[1]))
    predicted = time.perf_counter()
    found = {
        "val_accuracy": accuracy,
        "fit_seconds": fitted - start,
        "fit_cpu_seconds": fitted_cpu - start_cpu,  # of all threads
        "predict_seconds": predicted - fitted,
    }
    return candidate | found, estimator


def _resume(checkpoint: Path | None, grid: Sequence[dict], by: dict[str, str]) -> list[dict]:
    """Return the rows of an interrupted search, if made `by` the same and for the same grid."""
    content = (checkpoints.read(checkpoint) if checkpoint else None) or {}
    rows = content.get("rows", [])
    tried = [{name: row.get(name) for name in grid[0]} for row in rows]
    if content.get("by") != by or tried != list(grid[: len(rows)]):
        return []
    print(f"resumed after {len(rows)} of {len(grid)} candidates", flush=True)
    return rows


def _made_by(backend: str, *images: tuple[np.ndarray, np.ndarray]) -> dict[str, str]:
    """Return what fits with a backend (versions, code), on what machine, and a hash of the images.

    The answers are the same on any machine; the times, which a record holds, are not.
    """
    extension = choose_backend(backend) == "intelex"
    packages = ("scikit-learn", *["scikit-learn-intelex"] * extension)
    versions = {name: version(name) for name in packages}
    where = {"cpu": machine.cpu_name(), "threads": str(machine.threads())}
    code = {"code": CODE, "fast": str(fast.is_on())}
    return versions | where | code | {"images": joblib.hash(images)}


def timed_predict(estimator: Any, features: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the predicted classes, int (n,), and the seconds it took."""
    start = time.perf_counter()
    predicted = estimator.predict(features)
    return predicted, time.perf_counter() - start


def results(
    rows: list[dict], best: dict, estimator: Any, predict_seconds: float, backend: str
) -> dict[str, Any]:
    """Return what a record says of a search; `predict_seconds` is for the test images."""
    return {
        "search": [{name: row[name] for name in row if name != "fit_cpu_seconds"} for row in rows],
        "best": {name: best[name] for name in ("C", "degree", "gamma", "val_accuracy")},
        "fit_seconds": best["fit_seconds"],
        "fit_cpu_seconds": best["fit_cpu_seconds"],
        "predict_seconds": predict_seconds,
        "n_support": len(estimator.support_),
        "backend": choose_backend(backend),
    }
