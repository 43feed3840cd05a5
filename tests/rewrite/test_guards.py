"""Guards: what a rewrite must not change lightly, and what it must not start."""

import math

import pytest

from rewrite.guards import OPEN, Guards, changes_number
from rewrite.turn import Reading

LIGHTS = Reading("iot", "lights_off")
MUSIC = Reading("music", "play_song")
CALL_TOM = Reading("phone", "call", frozenset({("contact", "tom")}))
CALL_DOM = Reading("phone", "call", frozenset({("contact", "dom")}))
GUARDS = Guards()


def test_another_number_or_none_needs_overwhelming_evidence() -> None:
    for text in ("set a timer for six minutes", "set a timer"):
        assert GUARDS.barrier("set a timer for five minutes", LIGHTS, text, LIGHTS).reason == "number"
    assert GUARDS.barrier("alarm at 7", LIGHTS, "alarm at 8", LIGHTS).p_right == GUARDS.overwhelming


def test_a_number_that_was_not_heard_may_be_added() -> None:
    assert GUARDS.barrier("set a timer for fine minutes", LIGHTS, "set a timer for five minutes", LIGHTS) == OPEN


@pytest.mark.parametrize("said", ["and the other one", "not that one", "skip this one please"])
def test_one_that_stands_for_a_thing_is_no_number(said: str) -> None:
    assert not changes_number(said, "turn on the hall lights")


@pytest.mark.parametrize("said", ["volume one", "the next one hundred", "that one pm alarm", "the other one two three"])
def test_one_that_counts_is_a_number(said: str) -> None:
    assert changes_number(said, "turn on the hall lights")


def test_a_negation_put_in_or_taken_out_needs_overwhelming_evidence() -> None:
    assert GUARDS.barrier("turn it off", LIGHTS, "don't turn it off", LIGHTS).reason == "negation"
    assert GUARDS.barrier("do not call", LIGHTS, "do call", LIGHTS).reason == "negation"


@pytest.mark.parametrize("said", ["no i said turn it off", "no the other one", "no no that is wrong"])
def test_a_no_to_what_was_done_before_is_no_negation(said: str) -> None:
    assert GUARDS.barrier(said, LIGHTS, "turn it off", LIGHTS) == OPEN


@pytest.mark.parametrize("said", ["no lights", "no not the lights", "i said no lights"])
def test_a_no_to_a_thing_is_one(said: str) -> None:
    assert GUARDS.barrier(said, LIGHTS, "lights", LIGHTS).reason == "negation"


def test_another_contact_needs_overwhelming_evidence() -> None:
    assert GUARDS.barrier("call tom", CALL_TOM, "call dom", CALL_DOM).reason == "slot"
    assert GUARDS.barrier("call tom now", CALL_TOM, "call tom", CALL_TOM) == OPEN


def test_no_turn_is_rewritten_into_a_sensitive_intent() -> None:
    assert GUARDS.barrier("tall tom", MUSIC, "call tom", CALL_TOM).p_right == math.inf
    assert GUARDS.barrier("tall tom", Reading(), "call tom", CALL_TOM).p_right == math.inf
    assert Guards(allowed=("call",)).barrier("tall tom", Reading(), "call tom", CALL_TOM) == OPEN


def test_another_intent_needs_more_gain() -> None:
    barrier = GUARDS.barrier("play the lights off", MUSIC, "turn the lights off", LIGHTS)
    assert (barrier.reason, barrier.gain) == ("flip", GUARDS.flip_gain)
    assert GUARDS.barrier("play the lights off", Reading(), "turn the lights off", LIGHTS) == OPEN


def test_guards_are_read_back_as_they_were() -> None:
    guards = Guards(allowed=("call",), overwhelming=0.9)
    assert Guards.from_json(guards.as_json()) == guards
    with pytest.raises(ValueError, match=r"guard overwhelming is 1\.5; expected a number from 0 to 1"):
        Guards(overwhelming=1.5)
