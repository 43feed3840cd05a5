"""Kinds of follow-up from likeness alone: a small model that knows no assistant's words, so that it can ship.

A multinomial logistic regression over `likeness.COLUMNS`, which mining has at hand for every pair: it costs a matrix
product. What `mining.kinds` looks at besides (replies, gaps, turns around) is telling in the log that it was learned
from and misleading in the next.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mining.kinds import decide
from mining.likeness import COLUMNS

SHIPPED = Path(__file__).parent / "default_kinds" / "model.json"
"""The model that comes with the project; its card lies beside it."""

FEWEST = (1, 1, 1)
"""Rows of each class that `fit` takes: without one of them there would be no weights for it."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LikenessModel:
    """Weights over likeness, and where to cut what they say."""

    columns: tuple[str, ...]
    """COLUMNS as they were when it was fitted."""
    weights: tuple[tuple[float, ...], ...]
    """(classes, columns)."""
    offsets: tuple[float, ...]
    threshold: float = 0.5
    """P(correction of either kind) from which a pair is one."""
    asr_weight: float = 1.0
    """What P(recognition correction) is multiplied with before it is compared with P(rewording)."""
    trained_on: str = ""
    """SHA-256 of the labelled file."""

    def probabilities(self, columns: Array) -> Array:
        """(M, classes) from (M, columns), each row summing to 1."""
        # a column at a time: a matrix product rounds by how many rows there are, and tables must not depend on that
        weights = np.array(self.weights)
        logits = sum((columns[:, [c]] * weights[:, c] for c in range(len(COLUMNS))), np.array(self.offsets))
        return np.asarray(softmax(logits, axis=1))

    def decide(self, probabilities: Array) -> NDArray[np.int64]:
        """(M,) class numbers."""
        return decide(probabilities, self.threshold, self.asr_weight)

    def to_json(self) -> str:
        """The whole model as JSON."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> "LikenessModel":
        """The model that `to_json` wrote.

        Raises:
            ValueError: its columns are not the ones that this version computes.
        """
        got = json.loads(text)
        if tuple(got["columns"]) != COLUMNS:
            raise ValueError(f"the model weighs {got['columns']}; expected {list(COLUMNS)}; another version's?")
        weights = tuple(tuple(row) for row in got["weights"])
        return LikenessModel(**{**got, "columns": COLUMNS, "weights": weights, "offsets": tuple(got["offsets"])})


def fit(
    columns: Array, labels: NDArray[np.int64], seed: int = 0, threshold: float = 0.5, asr_weight: float = 1.0
) -> LikenessModel:
    """Fit on likeness (M, columns) and classes (M,). `seed` is not used: there is one optimum."""
    from sklearn.linear_model import LogisticRegression

    mean, scale = columns.mean(axis=0), columns.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    linear = LogisticRegression(C=0.1, max_iter=5000).fit((columns - mean) / scale, labels)
    weights = linear.coef_ / scale
    offsets = linear.intercept_ - weights @ mean
    rounded = lambda values: tuple(round(float(v), 5) for v in values)  # noqa: E731
    return LikenessModel(COLUMNS, tuple(rounded(row) for row in weights), rounded(offsets), threshold, asr_weight)
