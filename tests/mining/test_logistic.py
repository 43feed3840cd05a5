"""Logistic regression kept as plain numbers."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mining import logistic
from mining.logistic import Logistic


def test_it_says_what_scikit_learn_says() -> None:
    rng = np.random.default_rng(3)
    rows = np.hstack([rng.normal(size=(90, 4)) * [1, 10, 0.1, 1] + 3, np.full((90, 1), -1.0)])
    labels = (rows[:, 0] + rng.normal(size=90) > 3).astype(np.int64) + (rows[:, 1] > 8)
    fitted = logistic.fit(rows, labels)
    standard = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1)
    plain = LogisticRegression(C=0.1, max_iter=5000).fit(standard, labels)
    assert fitted.probabilities(rows) == pytest.approx(plain.predict_proba(standard), abs=1e-4)
    assert Logistic.of(json.loads(json.dumps(asdict(fitted)))) == fitted


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [0, 2, 2]])
def test_two_classes_are_not_enough_to_learn_from(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"nothing to tell apart: got \d rows of \d classes"):
        logistic.fit(np.zeros((len(labels), 2)), np.array(labels, dtype=np.int64))
