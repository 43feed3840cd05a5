"""The defect model: EM without labels finds the classes that made the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining import defects
from mining.signals import LEVELS

SIZES = [len(names) for names in LEVELS.values()]


def drawn(seed: int, turns: int = 30_000, rate: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Signal levels (N, signals) and true defects (N,), drawn from the prior's tables at another defect rate."""
    rng = np.random.default_rng(seed)
    defect = rng.random(turns) < rate
    tables = defects.prior_model().tables
    columns = [
        np.where(defect, rng.choice(size, turns, p=tables[n][1]), rng.choice(size, turns, p=tables[n][0]))
        for n, size in zip(LEVELS, SIZES, strict=True)
    ]
    return np.stack(columns, axis=1), defect


def counted(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct patterns and how often each occurs."""
    patterns, turns = np.unique(levels, axis=0, return_counts=True)
    return patterns, turns


def test_without_labels_the_fit_recovers_rate_and_classes() -> None:
    levels, defect = drawn(0)
    model = defects.fit(*counted(levels))
    guess = defects.posterior(model, levels)
    assert model.fitted
    assert model.defect_rate == pytest.approx(0.2, abs=0.03)
    assert guess[defect].mean() > guess[~defect].mean() + 0.3
    labelled = defects.fit_labelled(levels, defect)
    assert labelled.defect_rate == pytest.approx(0.2, abs=0.01)
    # a fit that saw the labels is the ceiling, and the blind one comes near it
    brier = [np.mean((defects.posterior(m, levels) - defect) ** 2) for m in (labelled, model, defects.prior_model())]
    assert brier[0] <= brier[1] <= brier[0] * 1.15


def test_the_fit_does_not_depend_on_the_order_of_patterns() -> None:
    patterns, turns = counted(drawn(1, 3000)[0])
    order = np.random.default_rng(0).permutation(len(turns))
    assert defects.fit(patterns, turns).to_json() == defects.fit(patterns[order], turns[order]).to_json()


def test_a_log_of_nothing_but_good_turns_keeps_the_classes_named() -> None:
    levels = np.array([[LEVELS[name].index("ok") if name == "signal_status" else 0 for name in LEVELS]])
    model = defects.fit(levels, np.array([5000]))
    weights = model.weights()["signal_status"]
    assert weights[2] > weights[1]


def test_a_division_that_is_not_about_defects_is_refused() -> None:
    # most turns "not understood": a broken export, not a broken assistant
    levels = np.zeros((2, len(SIZES)), dtype=int)
    levels[0, 0], levels[1, 0] = 2, 1
    model = defects.fit(levels, np.array([9000, 1000]))
    assert not model.fitted
    assert model.to_json() == defects.prior_model().to_json()


def test_where_few_turns_fail_ending_a_session_is_not_taken_for_failing() -> None:
    levels, _ = drawn(3, rate=0.04)
    followup, abandoned = (list(LEVELS).index(f"signal_{name}") for name in ("followup", "abandoned"))
    # who is followed soon went on, who is not has left: as in logs, the two say the same thing
    rng = np.random.default_rng(4)
    levels[:, abandoned] = np.where(levels[:, followup] == 0, rng.integers(1, 3, len(levels)), 0)
    model = defects.fit(*counted(levels))
    assert model.fitted
    assert model.defect_rate == pytest.approx(0.04, abs=0.03)
    assert model.weights()["signal_abandoned"][0] == 0


def test_turns_of_which_the_log_says_little_are_no_class() -> None:
    levels, _ = drawn(5, rate=0.04)
    mute = np.random.default_rng(6).random(len(levels)) < 0.5
    for name in ("interrupted", "dwell", "asr", "nlu"):
        levels[mute, list(LEVELS).index(f"signal_{name}")] = 0
    model = defects.fit(*counted(levels))
    guess = defects.posterior(model, levels)
    assert model.fitted
    assert guess[mute].mean() == pytest.approx(guess[~mute].mean(), abs=0.02)


def test_json_is_the_identity() -> None:
    model = defects.fit(*counted(drawn(2, 2000)[0]))
    again = defects.DefectModel.from_json(model.to_json())
    assert again.weights() == model.weights()
    assert again.offset() == model.offset()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*(st.integers(0, n - 1) for n in SIZES)), min_size=1, max_size=30, unique=True), st.data())
def test_probabilities_and_tables_stay_proper_on_any_log(patterns: list[tuple[int, ...]], data: st.DataObject) -> None:
    turns = data.draw(st.lists(st.integers(1, 1000), min_size=len(patterns), max_size=len(patterns)))
    model = defects.fit(np.array(patterns), np.array(turns), max_iterations=20)
    share = defects.posterior(model, np.array(patterns))
    assert np.all((share >= 0) & (share <= 1))
    for table in model.tables.values():
        assert np.allclose(table.sum(axis=1), 1)
        assert np.all(table > 0)
