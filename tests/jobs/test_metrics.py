"""Metrics of an evaluation against the obvious scorer, and the laws of their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.metrics import METRICS, Outcomes, curve, difference, measure, reliability


def outcomes(rewritten: list[int], right: list[int], defect: list[int], users: list[int] | None = None) -> Outcomes:
    flags = [np.array(column, dtype=bool) for column in (rewritten, right, defect, defect)]
    return Outcomes(*flags, np.array(users or range(len(defect)), dtype=np.int64))


def test_metrics_of_four_turns_by_hand() -> None:
    found = measure(outcomes(rewritten=[1, 1, 0, 0], right=[1, 0, 0, 0], defect=[1, 0, 1, 0]))
    expected = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0)
    assert [found[m].value for m in METRICS] == pytest.approx(expected)


def test_a_precision_without_rewrites_has_no_value() -> None:
    found = measure(outcomes([0, 0], [0, 0], [1, 0]))
    assert math.isnan(found["precision"].value)
    assert found["cpdr_change"].value == 0


def test_a_log_without_defects_has_no_change_to_report() -> None:
    found = measure(outcomes([1, 0], [0, 0], [0, 0]))
    assert math.isnan(found["cpdr_change"].value)
    assert found["cpdr_after"].value == 0.5


def test_no_turns_at_all_is_no_error() -> None:
    assert math.isnan(measure(outcomes([], [], []))["trigger_rate"].value)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_an_interval_has_its_low_end_below(rows: list[tuple[bool, bool, bool, int]]) -> None:
    rewritten, right, defect, users = (list(map(int, column)) for column in zip(*rows, strict=True))
    for estimate in measure(outcomes(rewritten, right, defect, users), draws=200).values():
        if not math.isnan(estimate.value):
            assert estimate.low <= estimate.high


def test_turns_of_one_user_are_drawn_together() -> None:
    defect, n = [1] * 50 + [0] * 50, 100
    clustered = measure(outcomes([0] * n, [0] * n, defect, users=[0] * 50 + [1] * 50))["cpdr_before"]
    apart = measure(outcomes([0] * n, [0] * n, defect))["cpdr_before"]
    assert (clustered.low, clustered.high) == (0, 1)
    assert apart.high - apart.low < 0.25


def test_the_interval_covers_like_the_binomial_one_where_every_turn_is_a_user() -> None:
    defect = [1] * 100 + [0] * 300
    found = measure(outcomes([0] * 400, [0] * 400, defect), draws=4000)["cpdr_before"]
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert found.low == pytest.approx(0.25 - half, abs=0.006)
    assert found.high == pytest.approx(0.25 + half, abs=0.006)


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    o = outcomes([1, 0, 1] * 20, [1, 0, 0] * 20, [1, 0, 0] * 20)
    assert measure(o, seed=1) == measure(o, seed=1)
    assert measure(o, seed=1) != measure(o, seed=2)


def test_a_system_does_not_differ_from_itself() -> None:
    o = outcomes([1, 1, 0], [1, 0, 0], [1, 0, 1])
    found = difference(o, o, "cpdr_change")
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_difference_is_paired_on_the_same_users() -> None:
    n = 200
    defect = [i % 2 for i in range(n)]
    none = outcomes([0] * n, [0] * n, defect)
    all_fixed = outcomes(defect, defect, defect)
    found = difference(all_fixed, none, "cpdr_change")
    assert (found.value, found.low, found.high) == pytest.approx((-1, -1, -1))


def test_the_curve_ends_at_the_trigger_rate_and_the_precision() -> None:
    o = outcomes([1, 1, 1, 0], [1, 0, 1, 0], [0] * 4)
    trigger, precision = curve(o, np.array([0.9, 0.5, 0.7, 1.0]))
    assert trigger.tolist() == [0.25, 0.5, 0.75]
    assert precision.tolist() == pytest.approx([1, 1, 2 / 3])


def test_rewrites_of_equal_confidence_are_one_point_of_the_curve() -> None:
    trigger, _ = curve(outcomes([1, 1, 1], [1, 0, 1], [0] * 3), np.array([0.5, 0.5, 0.2]))
    assert trigger.tolist() == pytest.approx([2 / 3, 1])


def test_the_curve_without_rewrites_is_empty() -> None:
    trigger, precision = curve(outcomes([0], [0], [1]), np.zeros(1))
    assert len(trigger) == len(precision) == 0


def test_reliability_compares_confidence_with_what_was_cured() -> None:
    o = outcomes([1, 1, 1, 1, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1])
    found = reliability(o, np.array([0.8, 0.2, 0.4, 1.0, 0.9]), bins=2)
    assert found.confidence.tolist() == pytest.approx([0.3, 0.9])
    assert found.fixed_rate.tolist() == [0.5, 1.0]
    assert found.calibration_error == pytest.approx((2 * 0.2 + 2 * 0.1) / 4)
    assert np.isnan(reliability(outcomes([0], [0], [1]), np.zeros(1)).calibration_error)
