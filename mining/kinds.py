"""Telling a recognition correction from a rewording from a new request: the trained model of follow-ups.

The mean of a multinomial logistic regression and gradient-boosted trees over `mining.pair_features`: on few thousand
labelled pairs the two err on different ones. Which of the two corrections it is, `mining.phrases` has a say in as well:
only the words show what this assistant answers where it misheard. Kept as JSON, so that loading it runs no code.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mining import phrases
from mining.pair_features import NAMES, Pair, features
from mining.phrases import PhraseModel

Array = NDArray[np.float64]

CLASSES = ("new_command", "command_correction", "asr_correction")
"""Kinds that the model tells apart: column numbers of its probabilities."""


@dataclass(frozen=True)
class Rows:
    """N pairs as a model sees them."""

    features: Array
    """(N, features) in the order of NAMES."""
    phrases: Any
    """(N, phrases.SIZE) sparse counts of n-grams."""

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: NDArray[np.int64]) -> "Rows":
        return Rows(self.features[rows], self.phrases[rows])


@dataclass(frozen=True)
class KindModel:
    """Weights of both halves, and where to cut their mean."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    """(classes, features) of the logistic half, over standardised features."""
    offsets: tuple[float, ...]
    trees: str
    """LightGBM's text form of the boosted half."""
    phrases: PhraseModel
    """Has an equal say in which of the corrections it is."""
    threshold: float = 0.5
    """P(correction of either kind) from which a pair is one."""
    asr_weight: float = 1.0
    """What P(recognition correction) is multiplied with before it is compared with P(rewording)."""
    trained_on: str = ""
    """SHA-256 of the labelled file, so that nobody scores the model on what it has learned by heart."""

    @cached_property
    def _booster(self) -> Any:
        import lightgbm

        return lightgbm.Booster(model_str=self.trees)

    def probabilities(self, rows: Rows) -> Array:
        """(N, classes), each row summing to 1."""
        if not len(rows):
            return np.zeros((0, len(CLASSES)))
        trees = np.asarray(self._booster.predict(rows.features, num_threads=1))
        new, command, asr = ((self._logistic(rows.features) + trees) / 2).T
        share = (asr / (command + asr) + self.phrases.probabilities(rows.phrases)) / 2
        return np.stack([new, (1 - new) * (1 - share), (1 - new) * share], axis=1)

    def _logistic(self, rows: Array) -> Array:
        logits = (rows - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights).T + np.array(self.offsets)
        return np.asarray(softmax(logits, axis=1))

    def decide(self, probabilities: Array) -> NDArray[np.int64]:
        """(N,) class numbers."""
        return decide(probabilities, self.threshold, self.asr_weight)

    def to_json(self) -> str:
        """The whole model as JSON."""
        return json.dumps({**{name: getattr(self, name) for name in _FIELDS}, "phrases": asdict(self.phrases)})

    @staticmethod
    def from_json(text: str) -> "KindModel":
        """The model that `to_json` wrote.

        Raises:
            ValueError: its features are not the ones that this version computes.
        """
        got = json.loads(text)
        if len(got["mean"]) != len(NAMES):
            raise ValueError(
                f"the model has {len(got['mean'])} features; expected {len(NAMES)}. Was it trained by another version?"
            )
        weights = tuple(tuple(row) for row in got["weights"])
        listed = {name: tuple(got[name]) for name in ("mean", "scale", "offsets")}
        said: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in got["phrases"].items()}
        return KindModel(**{**got, **listed, "weights": weights, "phrases": PhraseModel(**said)})


_FIELDS = ("mean", "scale", "weights", "offsets", "trees", "threshold", "asr_weight", "trained_on")


def decide(probabilities: Array, threshold: float, asr_weight: float) -> NDArray[np.int64]:
    """Class numbers: new below `threshold` of either correction, else the likelier of the two."""
    heard_wrong = probabilities[:, 2] * asr_weight > probabilities[:, 1]
    corrected = 1 - probabilities[:, 0] >= threshold
    return np.where(corrected, np.where(heard_wrong, 2, 1), 0).astype(np.int64)


def matrix(pairs: Sequence[Pair]) -> Rows:
    """`pairs` as a model sees them."""
    rows = [list(features(pair).values()) for pair in pairs]
    return Rows(np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES)), phrases.counts(pairs))


def fit(
    rows: Rows, labels: NDArray[np.int64], seed: int = 0, threshold: float = 0.5, asr_weight: float = 1.0
) -> KindModel:
    """Fit every part on labelled rows and their classes (N,)."""
    import lightgbm
    from sklearn.linear_model import LogisticRegression

    table, corrected = rows.features, np.flatnonzero(labels > 0)
    mean, scale = table.mean(axis=0), table.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    linear = LogisticRegression(C=0.1, max_iter=5000).fit((table - mean) / scale, labels)
    data = lightgbm.Dataset(table, label=labels, params={"verbose": -1})
    trees = lightgbm.train({**_TREES, "seed": seed}, data, num_boost_round=250)
    rounded = lambda values: tuple(round(float(v), 6) for v in values)  # noqa: E731
    return KindModel(
        rounded(mean),
        rounded(scale),
        tuple(rounded(row) for row in linear.coef_),
        rounded(linear.intercept_),
        trees.model_to_string(),
        phrases.fit(rows.phrases[corrected], labels[corrected] - 1),
        threshold,
        asr_weight,
    )


_TREES: dict[str, Any] = {
    "objective": "multiclass",
    "num_class": len(CLASSES),
    "learning_rate": 0.025,
    "num_leaves": 8,
    "min_child_samples": 15,
    "colsample_bytree": 0.5,
    "subsample": 0.8,
    "subsample_freq": 1,
    "reg_lambda": 5.0,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}


def best_cuts(probabilities: Array, labels: NDArray[np.int64]) -> tuple[float, float]:
    """threshold with the best F1 of correction against new, then asr_weight with the best macro F1 to be expected.

    Each is judged with its neighbours: on few hundred corrections the single best cut is luck. So it is for which of
    the two corrections a pair is, where labels are fewest and least certain: there the probabilities themselves say
    what a cut is worth, which varies less from sample to sample than counting hits does.
    (Source: plug-in rule for F1, Koyejo et al. 2014, Consistent binary classification with generalized performance
    metrics.)
    """
    thresholds = [round(0.2 + 0.02 * n, 2) for n in range(26)]
    threshold = _middle_of_the_best(thresholds, [f1(labels > 0, 1 - probabilities[:, 0] >= t) for t in thresholds])
    weights = [round(0.6 * 1.15**n, 3) for n in range(13)]
    scores = [expected_macro_f1(probabilities, decide(probabilities, threshold, w)) for w in weights]
    return threshold, _middle_of_the_best(weights, scores)


def _middle_of_the_best(cuts: list[float], scores: list[float], reach: int = 2) -> float:
    around = [np.mean(scores[max(0, n - reach) : n + reach + 1]) for n in range(len(cuts))]
    return cuts[int(np.argmax(around))]


def f1(truth: NDArray[np.bool_], guess: NDArray[np.bool_]) -> float:
    """F1 of a class: 2 TP / (2 TP + FP + FN); 0 where there is neither truth nor guess."""
    hit = int((truth & guess).sum())
    total = int(truth.sum() + guess.sum())
    return 2 * hit / total if total else 0.0


def macro_f1(truth: NDArray[np.int64], guess: NDArray[np.int64], classes: Sequence[int] = (0, 1, 2)) -> float:
    """Mean of the classes' F1."""
    return float(np.mean([f1(truth == c, guess == c) for c in classes]))


def expected_macro_f1(probabilities: Array, guess: NDArray[np.int64]) -> float:
    """Macro F1 of a guess where the truth is known by its probabilities (N, classes) only: counts are their sums."""
    hits = [2 * probabilities[guess == c, c].sum() for c in range(len(CLASSES))]
    totals = np.bincount(guess, minlength=len(CLASSES)) + probabilities.sum(axis=0)
    return float(np.mean(hits / np.maximum(totals, 1e-12)))
