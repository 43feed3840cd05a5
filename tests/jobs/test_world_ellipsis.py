"""What the demo's users leave out, and what they want by it."""

from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.simulate import DEMO
from jobs.world.assistant import interpret, satisfies
from jobs.world.dice import Dice
from jobs.world.ellipsis import elliptical_texts, leave_out, rooms_of
from jobs.world.grammar import Request, make_request, spoken_catalogue
from jobs.world.people import Offer, Person, make_offer, make_person
from jobs.world.simulator import Settings, Turn, simulate
from jobs.world.speak import CATALOGUE_SEED

TEXTS = frozenset(elliptical_texts())


@cache
def catalogue() -> dict[str, Request]:
    return spoken_catalogue(np.random.default_rng(CATALOGUE_SEED))


@cache
def played(rate: float) -> tuple[Turn, ...]:
    settings = Settings(users=60, days=8, fresh_day=6, ellipsis_rate=rate)
    return tuple(
        simulate(catalogue(), pq.read_table(DEMO / "recognitions.parquet"), settings, np.random.default_rng(5))
    )


def a_user(*favourites: Request) -> tuple[Person, Offer, Dice]:
    dice = Dice(np.random.default_rng(0))
    offer = make_offer(catalogue(), dice)
    person = make_person(0, offer, ("slt",), dice)
    person.favourites = favourites
    return person, offer, dice


def said_after(before: Request, *favourites: Request) -> dict[str, set[Request]]:
    person, offer, dice = a_user(*favourites)
    said: dict[str, set[Request]] = {}
    for _ in range(400):
        left_out = leave_out(before, person, offer, dice)
        if left_out is not None:
            said.setdefault(left_out[0], set()).add(left_out[1])
    return said


def test_the_assistant_understands_none_of_them() -> None:
    assert len(TEXTS) > 100
    assert not any(interpret(text).known for text in TEXTS)


def test_a_song_is_wanted_again_or_something_by_its_band() -> None:
    song = next(request for request in catalogue().values() if request.intent == "play_song")
    said = said_after(song)
    assert said["play it again"] == {song}
    (theirs,) = said["play more by them"]
    assert (theirs.intent, theirs.value("artist")) == ("play_artist", song.value("artist"))


def test_the_other_one_is_the_other_of_the_users_two_rooms() -> None:
    hall, attic, porch = (make_request("lights_on", {"room": room}) for room in ("hallway", "attic", "porch"))
    person, _, _ = a_user(hall, hall, attic, porch)
    assert rooms_of(person) == ("hallway", "attic")
    assert said_after(hall, hall, attic, porch)["and the other one"] == {attic}
    assert "and the other one" not in said_after(porch, hall, attic, porch)
    assert "and the other one" not in said_after(hall, hall)


def test_a_slot_named_anew_is_the_only_one_that_changes() -> None:
    before = make_request("weather", {"place": "toronto"})
    said = said_after(before)
    assert said
    for text, wanted in said.items():
        assert all(set(dict(request.slots)) == {"place"} for request in wanted)
        assert all(request.value("place") in text and request != before for request in wanted)


def test_nothing_is_left_out_after_a_request_that_nothing_follows_from() -> None:
    assert said_after(make_request("joke", {})) == {}


def test_such_a_turn_fails_and_what_it_meant_is_then_said_in_full() -> None:
    turns = played(0.5)
    elliptical = [turn for turn in turns if turn.intended in TEXTS]
    assert 0.05 < len(elliptical) / len(turns) < 0.3
    assert all(turn.defect and not satisfies(turn.read, turn.request) for turn in elliptical)
    after = [turn for turn in turns if turn.reformulates is not None and turn.reformulates.intended in TEXTS]
    assert 0.6 < np.mean([turn.intended not in TEXTS for turn in after]) < 1


def test_at_the_rate_nought_nobody_leaves_anything_out() -> None:
    assert not any(turn.intended in TEXTS for turn in played(0.0))


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rates in"):
        Settings(ellipsis_rate=rate)
