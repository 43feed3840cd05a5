"""Telling a recognition correction from a rewording from a new request: the trained model of follow-ups.

Whether a pair is a correction, the mean of a logistic regression and gradient-boosted trees over all of
`mining.pair_features` says: on few thousand labelled pairs the two err on different ones. Which correction it is, a
support vector machine over a few of them says: examples are fewer still, trees learn them by heart, and no straight
line parts them. Kept as JSON, so that loading it runs no code.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining import logistic, svm
from mining.english import english
from mining.logistic import Logistic
from mining.pair_features import NAMES, ORDINARY, Pair, features
from mining.svm import Svm

Array = NDArray[np.float64]

CLASSES = ("new_command", "command_correction", "asr_correction")
"""Kinds that the model tells apart: column numbers of its probabilities."""

FEWEST = (1, svm.FEWEST, svm.FEWEST)
"""Rows of each class that `fit` takes."""

TELLING = (
    "only_added",
    "second_words",
    "executed",
    "sound_ratio",
    "sound_partial",
    "jaccard",
    "reply_sorry",
    "reply_teach",
    "kept",
    "given",
    *ORDINARY,
)
"""Features that tell a recognition error from a rewording."""

_TELLING = [NAMES.index(name) for name in TELLING]


@dataclass(frozen=True)
class KindModel:
    """Weights of all parts, and where to cut what they say."""

    names: tuple[str, ...]
    """NAMES as they were when it was fitted."""
    linear: Logistic
    """Of all features: the classes."""
    trees: str
    """LightGBM's text form of the boosted half."""
    misheard: Svm
    """Of the features TELLING: rewording or recognition error, given that it is either."""
    english: bool
    """Whether the features of English were known when it was fitted."""
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

    def probabilities(self, rows: Array) -> Array:
        """(N, classes) of rows (N, features), each row summing to 1."""
        if not len(rows):
            return np.zeros((0, len(CLASSES)))
        trees = np.asarray(self._booster.predict(rows, num_threads=1))
        corrected = 1 - (self.linear.probabilities(rows)[:, 0] + trees[:, 0]) / 2
        misheard = self.misheard.probabilities(rows[:, _TELLING])[:, 1]
        return np.stack([1 - corrected, corrected * (1 - misheard), corrected * misheard], axis=1)

    def decide(self, probabilities: Array) -> NDArray[np.int64]:
        """(N,) class numbers."""
        return decide(probabilities, self.threshold, self.asr_weight)

    def to_json(self) -> str:
        """The whole model as JSON."""
        return json.dumps({**_fields(self), "linear": asdict(self.linear), "misheard": asdict(self.misheard)})

    @staticmethod
    def from_json(text: str) -> "KindModel":
        """The model that `to_json` wrote.

        Raises:
            ValueError: its features, or its parts, are not the ones that are computed here.
        """
        got = json.loads(text)
        names = tuple(got.get("names", ()))
        if names != NAMES:
            raise ValueError(f"the model has {len(names)} features; expected {len(NAMES)}. Trained by another version?")
        if got["english"] != (english() is not None):
            where = "with" if got["english"] else "without"
            raise ValueError(f"the model was trained {where} pocketsphinx; expected it {where} pocketsphinx here, too")
        if "vectors" not in got["misheard"]:
            raise ValueError(
                "the model tells corrections apart by a line; expected vectors. Trained by another version?"
            )
        parts = {"linear": Logistic.of(got["linear"]), "misheard": Svm.of(got["misheard"])}
        return KindModel(**{**got, **parts, "names": names})


def _fields(model: KindModel) -> dict[str, Any]:
    return {field.name: getattr(model, field.name) for field in fields(model)}


def decide(probabilities: Array, threshold: float, asr_weight: float) -> NDArray[np.int64]:
    """Class numbers: new below `threshold` of either correction, else the likelier of the two."""
    heard_wrong = probabilities[:, 2] * asr_weight > probabilities[:, 1]
    corrected = 1 - probabilities[:, 0] >= threshold
    return np.where(corrected, np.where(heard_wrong, 2, 1), 0).astype(np.int64)


def matrix(pairs: Sequence[Pair]) -> Array:
    """(N, features) in the order of NAMES."""
    known = english()
    rows = [list(features(pair, known).values()) for pair in pairs]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES))


def fit(
    rows: Array, labels: NDArray[np.int64], seed: int = 0, threshold: float = 0.5, asr_weight: float = 1.0
) -> KindModel:
    """Fit every part on labelled rows and their classes (N,)."""
    import lightgbm

    corrected = np.flatnonzero(labels > 0)
    data = lightgbm.Dataset(rows, label=labels, params={"verbose": -1})
    trees = lightgbm.train({**_TREES, "seed": seed}, data, num_boost_round=250)
    return KindModel(
        NAMES,
        logistic.fit(rows, labels),
        trees.model_to_string(),
        svm.fit(rows[corrected][:, _TELLING], labels[corrected] - 1),
        bool((rows[:, NAMES.index(ORDINARY[0])] >= 0).any()),
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


def occurring(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> list[int]:
    """Class numbers that are in either."""
    found: list[int] = np.union1d(truth, guess).tolist()
    return found


def macro_f1(truth: NDArray[np.int64], guess: NDArray[np.int64]) -> float:
    """Mean F1 of the classes that occur in either: of another there is nothing to get right or wrong."""
    return float(np.mean([f1(truth == c, guess == c) for c in occurring(truth, guess)]))


def expected_macro_f1(probabilities: Array, guess: NDArray[np.int64]) -> float:
    """Macro F1 of a guess where the truth is known by its probabilities (N, classes) only: counts are their sums.

    As in `macro_f1`, a class that nobody guesses and nothing speaks for is left out.
    """
    hits = [2 * probabilities[guess == c, c].sum() for c in range(len(CLASSES))]
    totals = np.bincount(guess, minlength=len(CLASSES)) + probabilities.sum(axis=0)
    return float(np.mean(np.array(hits)[totals > 0] / totals[totals > 0]))
