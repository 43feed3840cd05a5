"""Support vector machine kept as plain numbers."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.svm import SVC

from mining import svm
from mining.svm import Svm


def _ring(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of two useful features and a constant, labels, P(1): high near the middle, so that no line parts them."""
    rng = np.random.default_rng(seed)
    rows = np.hstack([rng.normal(size=(n, 2)) * [1, 10] + 3, np.full((n, 1), -1.0)])
    truth = 1 / (1 + np.exp(3 * (np.hypot(rows[:, 0] - 3, (rows[:, 1] - 3) / 10) - 1)))
    return rows, (rng.random(n) < truth).astype(np.int64), truth


def test_its_margins_are_those_of_scikit_learn() -> None:
    rows, labels, _ = _ring(90)
    fitted = svm.fit(rows, labels)
    standard = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 1e-6, rows.std(axis=0), 1)
    margins = SVC(C=1.0, gamma=svm.GAMMA).fit(standard, labels).decision_function(standard)
    second = fitted.probabilities(rows)[:, 1]
    assert fitted.slope > 0
    assert np.log(second / (1 - second)) == pytest.approx(fitted.slope * margins + fitted.bias, abs=1e-3)


def test_where_no_line_parts_the_classes_its_probabilities_are_near_the_true_ones() -> None:
    rows, labels, _ = _ring(600)
    unseen, _, truth = _ring(2000, seed=1)
    said = svm.fit(rows, labels).probabilities(unseen)[:, 1]
    assert np.abs(said - truth).mean() < 0.15 < np.abs(labels.mean() - truth).mean()


def test_a_row_gets_the_same_bits_alone_in_a_crowd_and_after_saving() -> None:
    rows, labels, _ = _ring(5000)
    fitted = svm.fit(rows[:300], labels[:300])
    again = Svm.of(json.loads(json.dumps(asdict(fitted))))
    assert again == fitted
    together = again.probabilities(rows)
    assert all(np.array_equal(fitted.probabilities(rows[[at]])[0], together[at]) for at in (0, 17, 4095, 4096, 4999))
    assert fitted.probabilities(rows[:0]).shape == (0, 2)


@pytest.mark.parametrize("labels", [[], [0] * 9, [0] * 9 + [1] * 4])
def test_a_class_of_a_few_rows_is_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"too little to tell apart: got \d and \d rows of two classes; expected 5"):
        svm.fit(np.random.default_rng(0).normal(size=(len(labels), 3)), np.array(labels, dtype=np.int64))
