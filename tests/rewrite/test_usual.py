"""What a turn does not tell is taken as it usually is."""

from dataclasses import replace
from pathlib import Path

import pytest

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


@pytest.fixture
def bundle_of_confidences(bundle: Path) -> Rewriter:
    """A bundle, as if its logs told both confidences."""
    rewriter = Rewriter.load(bundle)
    rewriter.decider.usual = USUAL
    return rewriter


def test_a_bare_request_is_decided_as_one_that_tells_the_usual(bundle_of_confidences: Rewriter) -> None:
    rewriter = bundle_of_confidences
    known = rewriter.scorer.knowledge.known["stop"]
    bare = rewriter.rewrite_turn(Turn("stop", user_id="u01"))
    told = Turn("stop", user_id="u01", asr_confidence=0.9, nlu_confidence=0.8, reading=known.reading)
    assert bare == rewriter.rewrite_turn(told)
    assert bare.text is None
    assert bare.p_fail != rewriter.rewrite_turn(replace(told, asr_confidence=0.0, reading=Reading())).p_fail
