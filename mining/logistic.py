"""Multinomial logistic regression over standardised features, kept as plain numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Logistic:
    """Weights, and what features are standardised by."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    """(classes, features)."""
    offsets: tuple[float, ...]

    def probabilities(self, rows: Array) -> Array:
        """(N, classes) of rows (N, features), each row summing to 1."""
        logits = (rows - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights).T + np.array(self.offsets)
        return np.asarray(softmax(logits, axis=1))

    @staticmethod
    def of(stored: dict[str, Any]) -> "Logistic":
        """The regression whose fields are in `stored`, as lists."""
        weights = tuple(tuple(row) for row in stored["weights"])
        return Logistic(tuple(stored["mean"]), tuple(stored["scale"]), weights, tuple(stored["offsets"]))


def fit(rows: Array, labels: NDArray[np.int64]) -> Logistic:
    """Fit on rows (N, features) and their classes (N,), numbered from 0, under a penalty that few hundred rows need.

    Raises:
        ValueError: there are fewer than three classes.
    """
    from sklearn.linear_model import LogisticRegression

    if (classes := len(np.unique(labels))) < 3:
        raise ValueError(
            f"nothing to tell apart: got {len(rows)} rows of {classes} classes; expected three or more; "
            "do the labels, or those outside one block of time, lack a kind?"
        )
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0)  # a constant of many digits has a spread of rounding errors
    linear = LogisticRegression(C=0.1, max_iter=5000).fit((rows - mean) / scale, labels)
    rounded = lambda values: tuple(round(float(v), 6) for v in values)  # noqa: E731
    weights = tuple(rounded(row) for row in linear.coef_)
    return Logistic(rounded(mean), rounded(scale), weights, rounded(linear.intercept_))
