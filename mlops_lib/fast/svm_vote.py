"""Predictions of a support vector machine as one matrix product for a block of images.

libsvm's one-against-one vote loops over support vectors; here it is computed for all of them
together, in float32 and again in float64 for images where rounding could matter.

Gain: part of the benchmark "SVM fit + predict, 49,000 images: times scikit-learn". That the
classes are libsvm's is measured by "SVM predictions equal to libsvm's, least of 12 cases (%)".
Where: any CPU, RBF and polynomial kernels, machines fitted by either backend. Called by `svm.fit`.
It reads `_gamma`, a private attribute of scikit-learn's.
Off: `MLOPS_FAST=off`.
"""

from __future__ import annotations

import itertools

import numpy as np

BLOCK_ROWS = 1000
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
        """Return for every pair of classes whether the first wins: bool (n, pairs).

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
