"""The decision: personal before global, nothing on doubt, and the same after it was saved."""

import json
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.cascade import Zone
from rewrite.decision import LIKELY, Calibration, Candidate, Decider, Thresholds, Untold, choose, expected_gain
from rewrite.features import CANDIDATE_FEATURES, CHEAP_FEATURES, TURN_FEATURES
from rewrite.guards import Barrier
from rewrite.usual import Usual

RATE = st.floats(0, 1)
CANDIDATES = st.lists(
    st.builds(
        Candidate, st.sampled_from("abcd"), st.sampled_from(["personal", "global"]), st.just(()), RATE, st.floats(-1, 1)
    )
)


def candidate(text: str, space: str, gain: float, p_right: float = 0.5) -> Candidate:
    return Candidate(text, space, (), p_right, gain)  # type: ignore[arg-type]


def test_a_likely_personal_candidate_goes_before_a_better_global_one() -> None:
    found = [candidate("g", "global", 0.9), candidate("p", "personal", 0.8), candidate("q", "personal", 0.2)]
    assert choose(found, {"personal": 0.1, "global": 0.1}) == found[1]
    assert choose(found, {"personal": 0.8, "global": 0.1}) == found[0]
    assert choose(found, {"personal": 0.8, "global": 0.9}) is None
    assert choose([], {"personal": 0.0, "global": 0.0}) is None


def test_an_unlikely_personal_candidate_does_not_keep_out_a_sure_global_one() -> None:
    found = [candidate("g", "global", 0.9), candidate("p", "personal", 0.7)]
    assert choose(found, {"personal": 0.1, "global": 0.1}) == found[0]
    assert choose(found, {"personal": 0.1, "global": 0.9}) == found[1]


@given(CANDIDATES, RATE, RATE)
def test_what_is_chosen_is_the_best_of_its_space_and_within_reach_of_the_best_global_one(
    found: list[Candidate], personal: float, shared: float
) -> None:
    thresholds = {"personal": personal, "global": shared}
    chosen = choose(found, thresholds)
    above = [c for c in found if c.gain > thresholds[c.space]]
    assert (chosen is None) == (not above)
    if chosen is not None:
        assert chosen in above
        assert chosen.gain == max(c.gain for c in above if c.space == chosen.space)
        own = [c.gain for c in above if c.space == "personal"]
        everyones = [c.gain for c in above if c.space == "global"]
        personal_first = own and (not everyones or max(own) >= LIKELY * max(everyones))
        assert (chosen.space == "personal") == bool(personal_first)
        assert choose(found[::-1], thresholds) == chosen


def test_thresholds_do_nothing_until_they_are_fitted() -> None:
    assert choose([candidate("a", "personal", 1.0), candidate("b", "global", 1.0)], Thresholds().gain) is None


@given(RATE, RATE)
def test_a_rewrite_that_reads_the_same_is_worth_nothing(p_fail: float, p_right: float) -> None:
    assert expected_gain(p_fail, np.array([p_right]), np.array([1.0]))[0] == 0


def test_the_gain_is_what_is_cured_less_what_is_broken() -> None:
    gains = expected_gain(0.75, np.array([0.5, 0.25, 0.875, 0.0]), np.array([0.0, np.nan, 0.0, 0.0]))
    # A turn cured with 0.875 fails at least as often, so at most 0.125 of them are good.
    np.testing.assert_allclose(gains, [0.25, 0.0, 0.75, -0.25])


@given(RATE, RATE, RATE)
def test_a_likelier_cure_never_gains_less(p_fail: float, one: float, other: float) -> None:
    low, high = expected_gain(p_fail, np.array(sorted([one, other])), np.zeros(2))
    assert -1 <= low <= high <= 1


def booster(width: int, seed: int) -> lightgbm.Booster:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(200, width))
    labels = (features[:, 0] + features[:, 1] > 0).astype(float)
    options = {"objective": "cross_entropy", "verbosity": -1, "num_threads": 1, "seed": seed}
    return lightgbm.train(options, lightgbm.Dataset(features, labels), 10)


@pytest.fixture(scope="module")
def decider() -> Decider:
    return Decider(
        booster(len(TURN_FEATURES), 0),
        booster(len(CHEAP_FEATURES), 1),
        booster(len(CANDIDATE_FEATURES), 2),
        Calibration((0.1, 0.4, 0.9), (0.0, 0.3, 0.95)),
        {"personal": Calibration((0.1, 0.7), (0.0, 0.6)), "global": Calibration((0.2, 0.9), (0.1, 0.8))},
        {"personal": Calibration((0.2, 0.8), (0.1, 0.9)), "global": Calibration()},
        Thresholds(0.125, {"personal": 0.1, "global": 1 / 3}, Zone(-0.1, 2 / 3)),
        {"play": 0.1, "größe": 0.2},
        usual=Usual(0.75, None),
        untold=Untold(booster(len(TURN_FEATURES), 3), Calibration((0.3, 0.6), (0.1, 0.9))),
    )


def test_what_is_saved_predicts_the_same_when_loaded(decider: Decider, tmp_path: Path) -> None:
    decider.save(tmp_path)
    loaded = Decider.load(tmp_path)
    rng = np.random.default_rng(5)
    turns = rng.normal(size=(50, len(TURN_FEATURES)))
    turns[::7, ::3] = np.nan
    rows = rng.normal(size=(50, len(CANDIDATE_FEATURES)))
    spaces = ["personal", "global"] * 25
    np.testing.assert_array_equal(decider.p_fail(turns), loaded.p_fail(turns))
    cheap = rows[:, : len(CHEAP_FEATURES)]
    np.testing.assert_array_equal(decider.sift(cheap), loaded.sift(cheap))
    np.testing.assert_array_equal(decider.p_right(rows, spaces), loaded.p_right(rows, spaces))  # type: ignore[arg-type]
    worth = decider.sift(cheap)
    unasked = decider.p_right_unasked(worth, spaces)  # type: ignore[arg-type]
    np.testing.assert_array_equal(unasked, loaded.p_right_unasked(worth, spaces))  # type: ignore[arg-type]
    assert len(set(unasked)) > 10
    assert len(set(loaded.p_fail(turns))) > 10
    assert loaded.thresholds == decider.thresholds
    assert loaded.usual == Usual(0.75, None)
    silent = np.isnan(turns[:, TURN_FEATURES.index("asr_confidence")])
    assert decider.untold is not None
    np.testing.assert_array_equal(loaded.p_fail(turns)[silent], decider.untold.p_fail(turns[silent]))
    told = Decider.load(tmp_path)
    told.untold = None
    assert np.mean(told.p_fail(turns)[silent] != loaded.p_fail(turns)[silent]) > 0.5
    np.testing.assert_array_equal(told.p_fail(turns)[~silent], loaded.p_fail(turns)[~silent])
    assert loaded.intent_defect_rates == decider.intent_defect_rates


def test_each_space_has_its_own_calibration(decider: Decider) -> None:
    rows = np.zeros((2, len(CANDIDATE_FEATURES)))
    personal, shared = decider.p_right(rows, ["personal", "global"])
    assert personal == pytest.approx(np.interp(shared, (0.2, 0.8), (0.1, 0.9)), abs=2e-3)
    assert abs(personal - shared) > 0.01


def test_no_turns_and_no_candidates_have_no_predictions(decider: Decider) -> None:
    assert decider.p_fail(np.zeros((0, len(TURN_FEATURES)))).shape == (0,)
    assert decider.sift(np.zeros((0, len(CHEAP_FEATURES)))).shape == (0,)
    assert decider.p_right(np.zeros((0, len(CANDIDATE_FEATURES))), []).shape == (0,)


@pytest.mark.parametrize("name", ["turn_features", "candidate_features"])
def test_a_decision_fitted_for_other_features_is_refused(name: str, decider: Decider, tmp_path: Path) -> None:
    decider.save(tmp_path)
    path = tmp_path / "decision.json"
    settings = json.loads(path.read_text())
    settings[name][0], settings[name][1] = settings[name][1], settings[name][0]
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"fitted for other {name}"):
        Decider.load(tmp_path)


def test_calibration_goes_through_its_knots_and_never_falls() -> None:
    calibrate = Calibration((0.1, 0.5, 0.7), (0.2, 0.6, 0.6))
    # Up to the thousandth that keeps candidates on one step in order
    np.testing.assert_allclose(calibrate(np.array([0.0, 0.1, 0.3, 0.5, 1.0])), [0.2, 0.2, 0.4, 0.6, 0.6], atol=2e-3)
    raw = np.linspace(0, 1, 101)
    assert (np.diff(calibrate(raw)) > 0).all()
    assert 0 <= calibrate(raw).min() <= calibrate(raw).max() <= 1


def test_a_candidate_behind_its_barrier_is_not_chosen() -> None:
    held = replace(candidate("h", "global", 0.9, p_right=0.6), barrier=Barrier("number", 0.7))
    flip = replace(candidate("f", "global", 0.15), barrier=Barrier("flip", 0.0, 0.1))
    thresholds = {"personal": 0.1, "global": 0.1}
    assert choose([held, flip], thresholds) is None
    assert choose([held, flip], thresholds, guarded=False) == held
    assert choose([replace(held, p_right=0.8)], thresholds) is not None
