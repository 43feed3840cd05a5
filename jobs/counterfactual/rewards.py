"""The reward model of the direct method: how a turn ends given what is done with it, fitted so that no user judges
themself.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_IN_LEAF = 30

_TREES = {
    "objective": "cross_entropy",
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": LEAST_IN_LEAF,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
    "num_threads": 1,
}


def cross_fitted(
    features: Floats, reward: Floats, user_row: NDArray[np.int64], asked: list[Floats], folds: int = 5, rounds: int = 60
) -> list[Floats]:
    """Expected reward of other actions on the same turns, each from a model that never saw the turn's user.

    Args:
        features: shape (N, F), of turn and logged action; NaN where unknown. reward: shape (N,), in [0, 1].
        asked: arrays of shape (N, F) with the action exchanged; one result, shape (N,), for each.
    """
    import lightgbm

    fold = user_row % folds
    results = [np.full(len(reward), float(reward.mean())) for _ in asked]
    for part in range(folds):
        held, rest = fold == part, fold != part
        if not held.any() or rest.sum() < 2 * LEAST_IN_LEAF:
            continue
        booster = lightgbm.train(_TREES, lightgbm.Dataset(features[rest], reward[rest]), rounds)
        for result, other in zip(results, asked, strict=True):
            result[held] = np.clip(np.asarray(booster.predict(other[held])), 0.0, 1.0)
    return results
