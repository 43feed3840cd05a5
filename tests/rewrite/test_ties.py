"""How a request continues its session."""

import math
from pathlib import Path

import pytest

from rewrite.classifier import Classifier
from rewrite.ties import AGAIN, APART, TAKEN_UP, TIES, VARIED, Said, Tie, Ties, slots_kept, tie, tied_in_words
from rewrite.turn import Reading


def said(text: str, intent: str | None, **slots: str) -> Said:
    return text, Reading("home", intent, frozenset(slots.items()))


HALL = said("turn on the hall lights", "lights_on", room="hall")
SONG = said("play thaw", "play_song", song="thaw", artist="river in may")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (HALL, AGAIN),
        (said("hall lights on", "lights_on", room="hall"), AGAIN),
        (said("turn on the den lights", "lights_on", room="den"), VARIED),
        (said("lights", "lights_on"), VARIED),
        (said("turn off the hall lights", "lights_off", room="hall"), TAKEN_UP),
        (said("play songs by river in may", "play_artist", artist="river in may"), TAKEN_UP),
        (said("what time is it", "time"), APART),
        (said("blah", None), APART),
    ],
)
def test_the_closest_tie_to_any_earlier_request_counts(request_: Said, expected: str) -> None:
    assert tie(request_, [SONG, HALL]).kind == tie(request_, [HALL, SONG]).kind == expected


def test_a_tie_tells_to_what_it_is_and_how_long_ago_that_was_said() -> None:
    assert tie(HALL, [HALL, SONG]) == Tie(AGAIN, 2, "lights_on")
    assert tie(said("play songs by river in may", "play_artist", artist="river in may"), [HALL, SONG]) == Tie(
        TAKEN_UP, 1, "play_song"
    )
    assert tie(HALL, [SONG]) == tie(HALL, []) == Tie()


def test_of_two_ties_alike_the_later_request_counts_and_of_two_others_the_closer() -> None:
    den, off = said("den lights", "lights_on", room="den"), said("den lights off", "lights_off", room="den")
    assert tie(HALL, [HALL, SONG, HALL]).age == 1
    assert tie(den, [HALL, off]) == Tie(VARIED, 2, "lights_on")


def test_without_slots_only_the_same_text_is_the_same_again() -> None:
    """A log may tell intents and no slots: then "play jazz" is not "play rock" again."""
    jazz, rock = said("play jazz", "play"), said("play rock", "play")
    assert (tie(jazz, [jazz]).kind, tie(jazz, [rock]).kind) == (AGAIN, VARIED)


def test_what_was_not_understood_ties_nothing_but_its_own_text() -> None:
    blah, bleh = said("blah", None), said("bleh", None)
    assert [tie(blah, earlier).kind for earlier in ([blah], [bleh], [])] == [AGAIN, APART, APART]


def test_slots_are_compared_with_the_request_that_has_most_in_common() -> None:
    there = said("weather in rome on sunday", "weather", place="rome", day="sunday")
    assert (
        slots_kept(Reading("home", "weather", frozenset({("place", "oslo"), ("day", "sunday")})), [HALL, there])
        == 1 / 3
    )
    assert slots_kept(there[1], [HALL, there]) == 1
    assert slots_kept(Reading("home", "time"), [HALL]) == slots_kept(there[1], []) == 0


def test_a_tie_is_told_in_words_with_its_chance() -> None:
    def told(kind: str, chance: float | None) -> str:
        log_prob = None if chance is None else math.log(chance)
        return tied_in_words({"tie": float(TIES.index(kind)), "tie_log_prob": log_prob})

    assert told(AGAIN, 0.9) == "what was said before, again, which it is after such a text with a chance of 0.90"
    assert told(APART, 0.05).startswith("apart from what was said before, which")
    assert told(VARIED, None) == "the intent of what was said before, with other details"
    assert tied_in_words({}) == tied_in_words({"tie": None}) == tied_in_words({"tie": math.nan}) == ""


def test_what_a_log_tells_of_ties_is_the_same_after_save_and_load(tmp_path: Path) -> None:
    texts, kinds = ["once more", "again", "pay jazz", "lay rock"] * 5, [AGAIN, AGAIN, APART, APART] * 5
    model = Classifier.fit(texts, kinds, [1.0] * 20, 0, 1e-3)
    assert model is not None
    made = Ties(model.rounded, {"play_song": 0.9, "time": 0.1})
    made.save(tmp_path)
    loaded = Ties.load(tmp_path)
    assert loaded is not None
    assert loaded.followed == made.followed
    for text in ("once more", "lay jazz"):
        assert loaded.log_probs(text) == pytest.approx(made.log_probs(text))
        assert loaded.lean(text) == (text == "once more")
    assert Ties.load(tmp_path / "elsewhere") is None
