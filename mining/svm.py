"""A support vector machine over standardised features, two classes, kept as plain numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import expit

Array = NDArray[np.float64]

GAMMA = 0.02
"""How fast likeness falls with the squared distance, in standard deviations: exp(-GAMMA d²)."""

FEWEST = 5
"""Rows of either class that it takes: as many folds say how far a margin can be trusted."""

_MOST_AT_ONCE = 4096


@dataclass(frozen=True)
class Svm:
    """Support vectors, and what the margin is worth as a probability."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    vectors: tuple[tuple[float, ...], ...]
    """(V, features), standardised."""
    weights: tuple[float, ...]
    """(V,), above 0 for the second class."""
    offset: float
    slope: float
    """P(second class) = 1 / (1 + exp(-slope · margin - bias)). (Source: Platt 1999, Probabilistic outputs.)"""
    bias: float

    def probabilities(self, rows: Array) -> Array:
        """(N, 2) of rows (N, features), each row summing to 1, whatever rows there are besides."""
        second = expit(self.slope * self._margins((rows - np.array(self.mean)) / np.array(self.scale)) + self.bias)
        return np.stack([1 - second, second], axis=1)

    def _margins(self, rows: Array) -> Array:
        vectors, weights = np.array(self.vectors), np.array(self.weights)
        parts = [rows[at : at + _MOST_AT_ONCE] for at in range(0, max(len(rows), 1), _MOST_AT_ONCE)]
        # a matrix product rounds by how many rows there are; sums along a row do not
        near = (np.exp(-GAMMA * cdist(part, vectors, "sqeuclidean")) for part in parts)
        return np.concatenate([(kernel * weights).sum(axis=1) for kernel in near]) + self.offset

    @staticmethod
    def of(stored: dict[str, Any]) -> "Svm":
        """The machine whose fields are in `stored`, as lists."""
        plain = {name: tuple(stored[name]) for name in ("mean", "scale", "weights")}
        return Svm(**{**stored, **plain, "vectors": tuple(tuple(row) for row in stored["vectors"])})


def fit(rows: Array, labels: NDArray[np.int64]) -> Svm:
    """Fit on rows (N, features) and their classes (N,), 0 or 1.

    Raises:
        ValueError: a class has fewer than FEWEST rows.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.svm import SVC

    counts = np.bincount(labels, minlength=2)
    if counts.min() < FEWEST:
        raise ValueError(
            f"too little to tell apart: got {counts[0]} and {counts[1]} rows of two classes; expected {FEWEST} or more "
            "of each; do the labels, or those outside one block of time, lack a kind?"
        )
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0)  # a constant of many digits has a spread of rounding errors
    standard = (rows - mean) / scale
    machine = SVC(C=1.0, gamma=GAMMA)
    margins = cross_val_predict(machine, standard, labels, cv=StratifiedKFold(FEWEST), method="decision_function")
    trusted = LogisticRegression(C=10.0).fit(margins[:, None], labels)
    machine.fit(standard, labels)
    rounded = lambda values: tuple(round(float(v), 6) for v in values)  # noqa: E731
    return Svm(
        rounded(mean),
        rounded(scale),
        tuple(rounded(row) for row in machine.support_vectors_),
        rounded(machine.dual_coef_[0]),
        *rounded([machine.intercept_[0], trusted.coef_[0, 0], trusted.intercept_[0]]),
    )
