"""Logistic regression kept as plain numbers."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mining import logistic
from mining.logistic import Logistic


@pytest.mark.parametrize("classes", [2, 3])
def test_it_says_what_scikit_learn_says(classes: int) -> None:
    rng = np.random.default_rng(classes)
    rows = np.hstack([rng.normal(size=(90, 4)) * [1, 10, 0.1, 1] + 3, np.full((90, 1), -1.0)])
    labels = (rows[:, 0] + rng.normal(size=90) > 3).astype(np.int64) + (rows[:, 1] > 8) * (classes - 2)
    fitted = logistic.fit(rows, labels)
    standard = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1)
    plain = LogisticRegression(C=0.1, max_iter=5000).fit(standard, labels)
    assert fitted.probabilities(rows) == pytest.approx(plain.predict_proba(standard), abs=1e-4)
    assert Logistic.of(json.loads(json.dumps(asdict(fitted)))) == fitted


@pytest.mark.parametrize("rows", [0, 3])
def test_one_class_is_nothing_to_learn_from(rows: int) -> None:
    with pytest.raises(ValueError, match="nothing to tell apart"):
        logistic.fit(np.zeros((rows, 2)), np.zeros(rows, dtype=np.int64))
