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
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from mlops_lib import checkpoint as checkpoints
from mlops_lib import fast, machine
from mlops_lib.fast.svm_vote import BlockSVC
from mlops_lib.params import ParameterError, Q1b
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


def require_choice(p: Q1b) -> None:
    """Raise ParameterError where candidates would be chosen by images that they were fitted to."""
    count = len(list(candidates(p.kernel, p.C, p.degree, p.gamma)))
    if p.train_on_validation and count > 1:
        raise ParameterError(
            "train_on_validation=True is not allowed: it leaves no images to choose among "
            f"{count} candidates; give one value each of C, degree and gamma"
        )


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
    scaling: str = "unit",
) -> Any:
    """Fit a support vector classifier to features, float (n, d), and labels, int (n,).

    The kernels are `exp(-gamma |x - y|²)` for `rbf`, `(gamma x·y)^degree` for `poly`; gamma is
    a number, `scale` (1 / (d · variance)) or `auto` (1 / d). Features are taken as they are
    (`unit`), or shifted and scaled to mean 0 and standard deviation 1, each feature by itself
    (`standard`) or all alike (`normalised`); what is predicted is scaled as what was fitted.
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
    scale = None if scaling == "unit" else Scale.fitted(features, each=scaling == "standard")
    estimator = classifier(backend)(kernel=kernel, C=C, degree=degree, gamma=gamma, cache_size=1000)
    estimator.fit(scale(features) if scale else features, labels)
    predictor = BlockSVC(estimator, kernel, degree) if fast.is_on() else estimator
    return Scaled(scale, predictor) if scale else predictor


@dataclass(frozen=True)
class Scale:
    """How features are scaled: by `mean` and `std`, numbers or float (d,)."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fitted(cls, features: np.ndarray, each: bool) -> Scale:
        """Take mean and standard deviation of features, float (n, d): of each, or of all alike.

        A feature that never changes keeps its spread of 0.
        """
        axis = 0 if each else None
        mean, std = features.mean(axis, dtype=np.float64), features.std(axis, dtype=np.float64)
        return cls(mean, np.where(std == 0, 1, std))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return ((features - self.mean) / self.std).astype(features.dtype)


class Scaled:
    """An estimator that scales what it predicts; `support_` as scikit-learn's."""

    def __init__(self, scale: Scale, estimator: Any) -> None:
        self.scale, self.estimator, self.support_ = scale, estimator, estimator.support_

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the classes of features, float (n, d) → int (n,)."""
        return self.estimator.predict(self.scale(features))


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
    scaling: str = "unit",
    checkpoint: Path | None = None,
) -> tuple[list[dict], dict, Any]:
    """Fit every candidate on `train` and score it on `val`, both (features, labels).

    Returns a row for each candidate, the best row (the first where equal) and its estimator.
    An interrupted search resumes from the file `checkpoint`, written about every minute; the best
    candidate is fitted again if its fit was before the interruption.
    """
    by = _made_by(backend, train, val, scaling=scaling) if checkpoint else {}
    options = {"kernel": kernel, "backend": backend, "scaling": scaling}
    rows = _resume(checkpoint, grid, by)
    best_accuracy = max((row["val_accuracy"] for row in rows), default=-1)
    classifier(backend)  # imported before a clock runs
    best_estimator, saved = None, time.perf_counter()
    for candidate in bar(grid[len(rows) :], desc="candidates", unit=" fits"):
        row, estimator = _try(train, val, candidate, options)
        rows.append(row)
        if row["val_accuracy"] > best_accuracy:
            best_accuracy, best_estimator = row["val_accuracy"], estimator
        if checkpoint and time.perf_counter() - saved > SAVE_SECONDS:
            checkpoints.save(checkpoint, {"rows": rows, "by": by})
            saved = time.perf_counter()
    best = max(rows, key=lambda row: row["val_accuracy"])
    if best_estimator is None:
        candidate = {name: best[name] for name in grid[0]}
        _, best_estimator = _try(train, val, candidate, options)
    return rows, best, best_estimator


def _try(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    candidate: dict,
    options: dict[str, Any],
) -> tuple[dict, Any]:
    """Fit one candidate; return its row and its estimator."""
    start, start_cpu = time.perf_counter(), time.process_time()
    numbers = {name: value for name, value in candidate.items() if value is not None}
    estimator = fit(train[0], train[1], **options, **numbers)
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


def _made_by(
    backend: str, *images: tuple[np.ndarray, np.ndarray], scaling: str = "unit"
) -> dict[str, str]:
    """Return what fits with a backend (versions, code), on what machine, and a hash of the images.

    The answers are the same on any machine; the times, which a record holds, are not.
    """
    extension = choose_backend(backend) == "intelex"
    packages = ("scikit-learn", *["scikit-learn-intelex"] * extension)
    versions = {name: version(name) for name in packages}
    where = {"cpu": machine.cpu_name(), "threads": str(machine.threads())}
    code = {"code": CODE, "fast": str(fast.is_on())}
    return versions | where | code | {"images": joblib.hash(images), "scaling": scaling}


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
