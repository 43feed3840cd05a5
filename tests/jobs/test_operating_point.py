"""The threshold protocol: act as often as the harm on held-back turns allows, and no more."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.operating_point import operating_point

TURNS = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30)


def arrays(turns: list[tuple[int, bool, bool, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    confidence, rewritten, right, fails = (np.array(column) for column in zip(*turns, strict=True))
    return confidence.astype(float), rewritten, right & rewritten, fails


@settings(deadline=None)
@given(TURNS, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_the_harm_is_kept_and_no_lower_confidence_would_keep_it(
    turns: list[tuple[int, bool, bool, bool]], allowed: float
) -> None:
    confidence, rewritten, right, fails = arrays(turns)
    point = operating_point(confidence, rewritten, right, fails, allowed)
    assert point.harm <= allowed + 1e-9
    for level in {c for c in confidence[rewritten] if c < point.threshold}:
        harmed = sum(r and not ok and not f and c >= level for c, r, ok, f in zip(*arrays(turns), strict=True))
        assert harmed > allowed * sum(not f for f in fails)


def test_the_shares_are_those_of_the_turns_acted_on() -> None:
    confidence = np.array([9.0, 8.0, 7.0, 6.0, 5.0])
    right = np.array([True, False, True, False, True])
    fails = np.array([True, True, False, False, True])
    point = operating_point(confidence, np.ones(5, dtype=bool), right, fails, 0.0)
    assert point.threshold == 7.0
    assert (point.trigger_rate, point.precision, point.harm) == (0.6, pytest.approx(2 / 3), 0.0)
    assert operating_point(confidence, np.ones(5, dtype=bool), right, fails, 0.5).threshold == 5.0


def test_a_system_that_always_harms_never_acts() -> None:
    ones = np.ones(3, dtype=bool)
    point = operating_point(np.ones(3), ones, ~ones, ~ones)
    assert point.threshold == math.inf
    assert point.trigger_rate == 0
    assert math.isnan(point.precision)


def test_a_system_without_answers_and_no_turns_at_all_are_no_error() -> None:
    none = np.zeros(2, dtype=bool)
    assert operating_point(np.zeros(2), none, none, none).trigger_rate == 0
    nothing = np.zeros(0, dtype=bool)
    assert operating_point(np.zeros(0), nothing, nothing, nothing).threshold == math.inf


def test_arrays_that_do_not_match_and_an_impossible_share_are_refused() -> None:
    two, three = np.zeros(2, dtype=bool), np.zeros(3, dtype=bool)
    with pytest.raises(ValueError, match="got 3 confidences, 2 rewritten"):
        operating_point(np.zeros(3), two, three, three)
    with pytest.raises(ValueError, match="harm in \\[0, 1\\], got 2"):
        operating_point(np.zeros(2), two, two, two, 2)
