"""Figures against seqeval, scikit-learn and sums by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import f1_score

from selection import metrics
from selection.examples import Utterance
from selection.statistics import mean_interval, sign_flip_p, student_t

TAGS = st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"])


@given(st.lists(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=6), min_size=1, max_size=5))
def test_slot_f1_is_seqevals(rows: list[list[tuple[str, str]]]) -> None:
    right, said = [[a for a, _ in row] for row in rows], [[b for _, b in row] for row in rows]
    assert metrics.slot_f1(right, said) == pytest.approx(seqeval_f1(right, said, zero_division=0))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=20))
def test_macro_f1_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    right, said = [a for a, _ in pairs], [b for _, b in pairs]
    assert metrics.macro_f1(right, said) == pytest.approx(f1_score(right, said, average="macro", zero_division=0))


@pytest.mark.parametrize(
    ("intent", "slots", "errors"),
    [
        ("play", (("song", "hello"), ("artist", "adele")), 0),
        ("stop", (("song", "hello"), ("artist", "adele")), 1),
        ("play", (("song", "hullo"), ("artist", "adele")), 1),
        ("play", (("song", "hello"),), 1),
        ("play", (("song", "hello"), ("artist", "adele"), ("room", "hall")), 1),
        ("play", (("singer", "adele"), ("song", "hello")), 2),
        ("stop", (), 3),
    ],
)
def test_semer_counts_intent_and_slots(intent: str, slots: tuple[tuple[str, str], ...], errors: int) -> None:
    row = Utterance("play hello by adele", "music", "play", (("song", "hello"), ("artist", "adele")))
    assert metrics.semantic_errors(row, "music", intent, slots) == (errors, 3)


def test_a_wrong_domain_is_a_wrong_intent() -> None:
    assert metrics.semantic_errors(Utterance("x", "a", "b"), "c", "b", ()) == (1, 1)


def test_nothing_to_measure_is_nan_not_a_crash() -> None:
    empty = np.array([], dtype=int)
    assert math.isnan(metrics.semer(empty, empty))
    assert math.isnan(metrics.accuracy([], []))
    assert math.isnan(metrics.semer_difference(empty, empty, empty, np.random.default_rng(0)).value)


def test_the_interval_of_a_difference_holds_its_value_and_the_truth() -> None:
    rng = np.random.default_rng(0)
    units = np.full(400, 2)
    before = rng.integers(0, 2, 400)
    after = np.where(rng.random(400) < 0.2, 0, before)
    found = metrics.semer_difference(after, before, units, rng)
    assert found.low < found.value < found.high < 0


def test_confusion_counts_pairs() -> None:
    assert metrics.confusion(list("aab"), list("abb"), ["a", "b"]).tolist() == [[1, 1], [0, 1]]


def test_certain_and_always_wrong_is_as_badly_calibrated_as_can_be() -> None:
    assert metrics.calibration_error(np.ones(4), np.zeros(4)) == 1
    assert metrics.calibration_error(np.full(4, 0.5), np.array([1, 0, 1, 0])) == 0


def test_sign_flips_are_counted_exactly() -> None:
    # of the 8 sign patterns of (-1, -2, -3) one alone sums to -6
    assert sign_flip_p([-1, -2, -3]) == pytest.approx(1 / 8)
    assert sign_flip_p([1, 2, 3]) == 1
    assert sign_flip_p([-1.0] * 10) == pytest.approx(1 / 1024)
    assert math.isnan(sign_flip_p([]))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    value, low, high = mean_interval(values)
    assert low <= value <= high


def test_the_t_table_agrees_with_scipy() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    for freedom in range(1, 60):
        assert student_t(freedom) == pytest.approx(scipy_stats.t.ppf(0.975, freedom), abs=2e-3)
