"""What a turn does not tell is taken as it usually is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rewrite.features import TURN_FEATURES
from rewrite.fitting import fit_untold
from rewrite.judged import FittingConfig
from rewrite.rewriter import Rewriter
from rewrite.turn import Reading, Turn
from rewrite.usual import UNTOLD, Usual

PLAY = Reading("music", "play", frozenset({("song", "x")}))
USUAL = Usual(0.9, 0.8)


def test_what_most_turns_tell_is_usual_and_what_many_leave_out_is_not() -> None:
    turns = [Turn("x", asr_confidence=n / 100, nlu_confidence=None if n % 10 == 0 else 0.5) for n in range(101)]
    assert Usual.of(turns) == Usual(0.5, None)
    assert Usual.of([]) == Usual(None, None)


def test_a_turn_that_tells_all_stays_as_it_is() -> None:
    told = Turn("play x", asr_confidence=0.3, nlu_confidence=0.2, reading=PLAY)
    assert USUAL.completed(told, Reading("music", "stop")) == told


def test_a_request_that_was_not_understood_stays_so() -> None:
    turn = Turn("play x", asr_confidence=0.3, nlu_confidence=0.2)
    assert USUAL.completed(turn, PLAY).reading == Reading()


@pytest.mark.parametrize(("known", "expected"), [(PLAY, PLAY), (None, UNTOLD), (Reading(), UNTOLD)])
def test_without_the_nlu_a_text_reads_as_usual_or_as_something_nobody_told(
    known: Reading | None, expected: Reading
) -> None:
    completed = USUAL.completed(Turn("play x", user_id="u"), known)
    assert completed == Turn("play x", user_id="u", asr_confidence=0.9, nlu_confidence=0.8, reading=expected)


def test_where_no_log_has_an_nlu_nothing_is_made_up() -> None:
    turn = Turn("red shoes")
    assert Usual().completed(turn, PLAY) == turn


def test_what_a_turn_does_not_tell_is_blank_and_only_that() -> None:
    features = list(map(float, range(len(TURN_FEATURES))))
    heard, asked = Turn("x", asr_confidence=0.9), Turn("x", asr_confidence=0.9, nlu_confidence=0.8)
    by_nlu = {"nlu_confidence", "has_slots", "understood", "nearest_agrees", "intent_defect_rate"}
    for usual, turn, blank in (
        (USUAL, asked, set()),
        (USUAL, heard, by_nlu),
        (USUAL, Turn("x"), by_nlu | {"asr_confidence"}),
        (Usual(0.9, None), Turn("x"), {"asr_confidence"}),
        (Usual(), Turn("x"), set()),
    ):
        found = usual.blanked(features, turn)
        assert {name for name, value in zip(TURN_FEATURES, found, strict=True) if np.isnan(value)} == blank
        assert usual.untold(np.array([features, found])).tolist() == [False, bool(blank)]
    assert [len(columns) for columns in USUAL.silences()] == [1, 5, 6]
    assert Usual().silences() == []


def test_where_confidence_tells_failures_a_silent_turn_is_judged_by_how_its_text_fared() -> None:
    rng = np.random.default_rng(0)
    fails = (np.arange(600) % 3 == 0).astype(np.float64)
    rows = rng.random((600, len(TURN_FEATURES)))
    rows[:, TURN_FEATURES.index("asr_confidence")] = np.where(fails, 0.3, 0.9)
    rows[:, TURN_FEATURES.index("outcome_defect_rate")] = np.where(fails, 0.9, 0.1)
    usual = Usual(0.9, None)
    untold = fit_untold(rows, fails, np.arange(600) % 5, usual, FittingConfig())
    assert untold is not None
    rows[:, TURN_FEATURES.index("asr_confidence")] = np.nan
    good, failing = (untold.p_fail(rows[fails == value]) for value in (0, 1))
    assert good.max() < 0.2 < 0.8 < failing.min()
    assert fit_untold(rows, fails, np.arange(600) % 5, Usual(), FittingConfig()) is None


@pytest.fixture
def bundle_of_confidences(bundle: Path) -> Rewriter:
    """A bundle, as if its logs told both confidences and no trees knew of silence."""
    rewriter = Rewriter.load(bundle)
    rewriter.decider.usual, rewriter.decider.untold = USUAL, None
    return rewriter


def test_a_bare_request_is_decided_as_one_that_tells_the_usual(bundle_of_confidences: Rewriter) -> None:
    rewriter = bundle_of_confidences
    known = rewriter.scorer.knowledge.known["stop"]
    bare = rewriter.rewrite_turn(Turn("stop", user_id="u01"))
    told = Turn("stop", user_id="u01", asr_confidence=0.9, nlu_confidence=0.8, reading=known.reading)
    assert bare == rewriter.rewrite_turn(told)
    assert bare.text is None
    assert bare.p_fail != rewriter.rewrite_turn(replace(told, asr_confidence=0.0, reading=Reading())).p_fail
