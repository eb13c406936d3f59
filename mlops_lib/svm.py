"""Support vector machines: search on the validation split, fit, predict.

Fitting is libsvm's (through scikit-learn) or, several times faster with the same support
vectors, that of Intel's extension for scikit-learn. Predictions are libsvm's one-against-one
vote, computed with one matrix product for a block of images instead of a loop over support
vectors. (Cortes & Vapnik, 1995; Chang & Lin, 2011.)
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from mlops_lib import checkpoint as checkpoints
from mlops_lib import machine
from mlops_lib.params import ParameterError
from mlops_lib.progress import bar

CODE = joblib.hash(inspect.getsource(sys.modules[__name__]))
BLOCK_ROWS = 1000
SAVE_SECONDS = 60  # at least, between two checkpoints of a search
ROUNDING = 8 * np.finfo(np.float32).eps  # of the largest value that a decision could reach


class BlockSVC:
    """A fitted one-against-one SVC that predicts block by block, with libsvm's vote."""

    def __init__(self, fitted, kernel: str, degree: int) -> None:
        self.kernel, self.degree, self.gamma = kernel, degree, float(fitted._gamma)
        self.classes_ = fitted.classes_
        self.support_ = np.asarray(fitted.support_)  # int (s,): rows of the training images
        self.support_vectors_ = np.asarray(fitted.support_vectors_)  # (s, d)
        # Of two classes, scikit-learn counts a win of the second as positive; libsvm the first.
        sign = -1 if len(self.classes_) == 2 else 1
        self.dual_coef_ = sign * np.asarray(fitted.dual_coef_)  # (classes - 1, s)
        self.intercept_ = sign * np.asarray(fitted.intercept_).ravel()  # (pairs,)
        self.n_support_ = np.asarray(fitted.n_support_)  # int (classes,)
        self._pairs = list(itertools.combinations(range(len(self.classes_)), 2))
        self._weights = self._pair_weights()
        # Distances stay what they are, and keep the digits that a common offset would take.
        self._centre = self.support_vectors_.mean(axis=0) if kernel == "rbf" else np.float32(0)
        centred = self.support_vectors_ - self._centre
        self._farthest = _squares(centred).max()
        self._vectors: dict[type, np.ndarray] = {
            t: centred.astype(t) for t in (np.float32, np.float64)
        }

    def _pair_weights(self) -> np.ndarray:
        """Unfold libsvm's packed coefficients into a column a pair of classes: (s, pairs)."""
        ends = np.cumsum(self.n_support_)
        of_class = [slice(end - n, end) for end, n in zip(ends, self.n_support_, strict=True)]
        weights = np.zeros((len(self.support_), len(self._pairs)))
        for column, (i, j) in enumerate(self._pairs):
            weights[of_class[i], column] = self.dual_coef_[j - 1, of_class[i]]
            weights[of_class[j], column] = self.dual_coef_[i, of_class[j]]
        return weights

    def similarity(self, features: np.ndarray, dtype: type) -> np.ndarray:
        """Return the kernel between features and support vectors: (n, d) → (n, s)."""
        features, vectors = (features - self._centre).astype(dtype), self._vectors[dtype]
        products = features @ vectors.T
        if self.kernel == "poly":
            return (dtype(self.gamma) * products) ** self.degree
        squares = _squares(features)[:, None] + _squares(vectors)
        return np.exp(dtype(-self.gamma) * (squares - 2 * products))

    def decision(self, features: np.ndarray) -> np.ndarray:
        """Return the decision value of every pair of classes: features (n, d) → (n, pairs)."""
        return self.similarity(features, np.float64) @ self._weights + self.intercept_

    def wins(self, features: np.ndarray) -> np.ndarray:
        """Say for every pair of classes whether the first wins: bool (n, pairs).

        Computed in float32, and again in float64 for images where rounding could matter.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not sure
            similarity = self.similarity(features, np.float32)
            decision = similarity @ self._weights.astype(np.float32) + self.intercept_
            reach = np.abs(similarity).max() * np.abs(self._weights).sum(axis=0)
            reach *= self._spread(features)
        sure = np.isfinite(decision) & (np.abs(decision) >= ROUNDING * reach)
        doubtful = np.flatnonzero(~sure.all(axis=1))
        decision[doubtful] = self.decision(features[doubtful])
        return decision > 0

    def _spread(self, features: np.ndarray) -> float:
        """Return how many times the rounding of a number that of its distances may weigh."""
        if self.kernel == "poly":
            return 1.0
        return 1 + self.gamma * max(self._farthest, _squares(features - self._centre).max())

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the class with the most pairwise wins, the first where equal: (n, d) → (n,).

        Raises ValueError for features that are not finite, or not of the fitted number.
        """
        from sklearn.utils import check_array

        features = check_array(features, dtype=(np.float64, np.float32))
        fitted = self.support_vectors_.shape[1]
        if features.shape[1] != fitted:
            raise ValueError(f"each row should have {fitted} features, not {features.shape[1]}")
        votes = np.zeros((len(features), len(self.classes_)), dtype=np.int64)
        for start in range(0, len(features), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            wins = self.wins(features[rows])
            for column, (i, j) in enumerate(self._pairs):
                votes[rows, i] += wins[:, column]
                votes[rows, j] += ~wins[:, column]
        return self.classes_[votes.argmax(axis=1)]


def _squares(rows: np.ndarray) -> np.ndarray:
    """Return the squared length of each row: (n, d) → (n,)."""
    return np.einsum("nd,nd->n", rows, rows)


def require(backend: str) -> None:
    """Raise ParameterError where the extension is asked for and absent."""
    if backend == "intelex" and choose_backend("auto") != "intelex":
        raise ParameterError(
            "backend='intelex' is not allowed: scikit-learn-intelex is not installed here; use "
            "'auto' or 'libsvm'"
        )


def choose_backend(backend: str) -> str:
    """Return `intelex` or `libsvm`: what `auto` means here is the extension, where installed."""
    if backend == "auto":
        return "intelex" if find_spec("sklearnex") else "libsvm"
    return backend


def classifier(backend: str) -> Callable[..., Any]:
    """Return what makes an estimator; its import takes a second, where it is the first.

    On one thread the extension would sum in another order: on two or more, as here, its answers
    are the same on any number.
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
) -> BlockSVC:
    """Fit a support vector classifier to features, float (n, d), and labels, int (n,).

    The kernels are `exp(-gamma |x - y|²)` for `rbf`, `(gamma x·y)^degree` for `poly`; gamma is
    a number, `scale` (1 / (d · variance)) or `auto` (1 / d).
    Returns an estimator with `.predict(features)`, int (n,). Raises ValueError for another kernel
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
    return BlockSVC(estimator.fit(features, labels), kernel, degree)


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
) -> tuple[list[dict], dict, BlockSVC]:
    """Fit every candidate on `train` and score it on `val`, both (features, labels).

    Returns a row for each candidate, the best row (the first where equal) and its estimator.
    A search that was interrupted goes on with what the file `checkpoint` holds, written about
    every minute; the best candidate is fitted again if that was before the interruption.
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
) -> tuple[dict, BlockSVC]:
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
    print(f"going on after {len(rows)} of {len(grid)} candidates", flush=True)
    return rows


def _made_by(backend: str, *images: tuple[np.ndarray, np.ndarray]) -> dict[str, str]:
    """Return what fits with a backend (versions, code), where it does, and a hash of the images.

    Its answers are the same on any machine; its times, which a record holds, are of one.
    """
    extension = choose_backend(backend) == "intelex"
    packages = ("scikit-learn", *["scikit-learn-intelex"] * extension)
    versions = {name: version(name) for name in packages}
    where = {"cpu": machine.cpu_name(), "threads": str(machine.threads())}
    return versions | where | {"code": CODE, "images": joblib.hash(images)}


def timed_predict(estimator: BlockSVC, features: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the predicted classes, int (n,), and the seconds it took."""
    start = time.perf_counter()
    predicted = estimator.predict(features)
    return predicted, time.perf_counter() - start


def results(
    rows: list[dict], best: dict, estimator: BlockSVC, predict_seconds: float, backend: str
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
