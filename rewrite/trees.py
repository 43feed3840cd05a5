"""Gradient-boosted trees under soft labels, judged out of fold, and their calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
from sklearn.isotonic import IsotonicRegression

from rewrite.decision import Calibration

_TREES = {
    "objective": "cross_entropy",
    "min_data_in_leaf": 30,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class TreesConfig:
    """Rounds of boosting, the seed of row and column sampling, and how trees grow.

    Trees over candidates, few of which are right, stay small. Those over turns, of which there are many more, may tell
    finer: `of_turns`.
    """

    rounds: int = 600
    seed: int = 0
    leaves: int = 5
    learning_rate: float = 0.03
    feature_share: float = 0.3
    penalty: float = 10.0

    @classmethod
    def of_turns(cls, seed: int) -> "TreesConfig":
        """For trees that tell whether turns fail."""
        return cls(400, seed, 15, 0.05, 0.5, 1.0)

    def as_lightgbm(self) -> dict[str, Any]:
        """Parameters of `lightgbm.train`."""
        grown = {"num_leaves": self.leaves, "learning_rate": self.learning_rate}
        held = {"feature_fraction": self.feature_share, "lambda_l2": self.penalty}
        return {**_TREES, **grown, **held, "seed": self.seed, "num_threads": 1}


def folds_by(names: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """Fold of each row, int64, shape (N,): all rows of one name share a fold."""
    distinct = sorted(set(names))
    drawn = np.random.default_rng(seed).permutation(len(distinct)) % folds
    fold = dict(zip(distinct, drawn.tolist(), strict=True))
    return np.array([fold[name] for name in names], dtype=np.int64)


def out_of_fold(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    config: TreesConfig,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Raw predictions for every row, shape (N,), by a model that saw no row of its fold."""
    return predicted(by_fold(features, labels, folds, config, weights), features, folds)


def by_fold(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    config: TreesConfig,
    weights: np.ndarray | None = None,
) -> dict[int, lightgbm.Booster]:
    """For each fold a model that saw no row of it; none for a fold that holds all rows."""
    models = {}
    for fold in np.unique(folds).tolist():
        outside = folds != fold
        if outside.any():
            weight = None if weights is None else weights[outside]
            models[fold] = train(features[outside], labels[outside], config, weight)
    return models


def predicted(models: Mapping[int, lightgbm.Booster], features: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Raw predictions for every row, shape (N,), by the model of its fold; 0 where there is none."""
    raw = np.zeros(len(folds))
    for fold, model in models.items():
        inside = folds == fold
        if inside.any():
            raw[inside] = model.predict(features[inside], num_threads=1)
    return raw


def train(
    features: np.ndarray, labels: np.ndarray, config: TreesConfig, weights: np.ndarray | None = None
) -> lightgbm.Booster:
    """Trees under the cross-entropy of labels in [0, 1]; rows of weight zero are left out."""
    keep = np.ones(len(labels), dtype=bool) if weights is None else weights > 0
    weight = None if weights is None else weights[keep]
    data = lightgbm.Dataset(features[keep], label=labels[keep].astype(np.float64), weight=weight)
    return lightgbm.train(config.as_lightgbm(), data, num_boost_round=config.rounds)


def calibrate(raw: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, knots: int = 50) -> Calibration:
    """Isotonic regression, kept at its quantile knots; the identity where there is nothing to learn from."""
    if len(raw) < 50 or labels.min() == labels.max():
        return Calibration()
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    model.fit(raw, labels.astype(np.float64), sample_weight=weights)
    upper = 1 - np.geomspace(1e-4, 0.1, knots)
    at = np.unique(np.quantile(raw, np.concatenate([np.linspace(0, 1, knots), upper])))
    return Calibration(tuple(at.tolist()), tuple(model.predict(at).tolist()))
