"""Requests that only the session explains: "play it again", "no the other one", a band named two turns before."""

import random
from datetime import timedelta
from typing import Any

import pytest

from jobs.learn import LearnConfig, run
from rewrite import Rewriter
from rewrite.turn import Turn
from tests.rewrite.world import START, turn_row, write_mined

SONGS = ("ancient bridges", "silver river", "golden morning", "paper moons", "quiet engines", "winter harbour")
LAMPS = (("hall", "den"), ("porch", "shed"), ("attic", "cellar"))
BANDS = ("the brass pigeons", "marlow finch", "the yellow submariners", "ida and the tides", "north sea radio")

Case = tuple[tuple[str, ...], str, str]
"""Earlier turns, what is said then, what is meant."""


def again(song: str) -> Case:
    return (f"play {song}",), "play it again", f"play {song}"


def other(lamp: str, wanted: str) -> Case:
    return (f"turn on the {lamp} lamp",), "no the other one", f"turn on the {wanted} lamp"


def by_them(band: str) -> Case:
    return (f"who sings in {band}", "what time is it"), "play something by them", f"play songs by {band}"


AGAIN = [again(song) for song in SONGS]
OTHER = [other(*pair) for one, two in LAMPS for pair in ((one, two), (two, one))]
BY_THEM = [by_them(band) for band in BANDS]


def lamps_of(user: int) -> list[Case]:
    return OTHER[2 * (user % 3) : 2 * (user % 3) + 2]


def rows(users: int = 60, days: int = 10) -> list[dict[str, Any]]:
    """Every day each user speaks in one such session; what they meant is whatever chance says, never their habit. Each
    has two lamps.
    """
    chance = random.Random(0)
    made: list[dict[str, Any]] = []
    for day in range(days):
        for user in range(users):
            before, said, meant = chance.choice(chance.choice([AGAIN, lamps_of(user), BY_THEM]))
            at = START + timedelta(days=day, minutes=7 * user)
            spoken = [*((text, False) for text in before), (said, True), (meant, False)]
            for step, (text, fails) in enumerate(spoken):
                made.append(turn_row(len(made), f"u{user:02d}", at + timedelta(seconds=20 * step), text, fails))
    return made


@pytest.fixture(scope="module")
def rewriter(tmp_path_factory: pytest.TempPathFactory) -> Rewriter:
    folder = tmp_path_factory.mktemp("sessions")
    run(write_mined(folder / "mined", rows()), folder / "bundle", LearnConfig(model=None, harm=1.0, threads=1))
    return Rewriter.load(folder / "bundle")


def right(rewriter: Rewriter, cases: list[Case], user: str | None, turns: bool) -> float:
    asked = [Turn(said, user_id=user, turns=before if turns else (), asr_confidence=0.4) for before, said, _ in cases]
    found = [rewriter.rewrite_turn(turn).text for turn in asked]
    hits: list[bool] = [text == meant for text, (_, _, meant) in zip(found, cases, strict=True)]
    return sum(hits) / len(cases)


@pytest.mark.parametrize(
    ("cases", "user"),
    [(AGAIN, "u03"), (AGAIN, None), (BY_THEM, "u03"), (BY_THEM, None)],
    ids=["again", "again, a new user", "a band two turns before", "a band two turns before, a new user"],
)
def test_what_was_said_before_decides(rewriter: Rewriter, cases: list[Case], user: str | None) -> None:
    assert right(rewriter, cases, user, turns=True) >= 0.8
    assert right(rewriter, cases, user, turns=False) <= 0.35


def test_of_two_lamps_the_other_one_is_the_one_that_was_not_named(rewriter: Rewriter) -> None:
    with_turns = [right(rewriter, lamps_of(user), f"u{user:02d}", turns=True) for user in range(12)]
    without = [right(rewriter, lamps_of(user), f"u{user:02d}", turns=False) for user in range(12)]
    assert sum(with_turns) / 12 >= 0.8
    assert max(without) <= 0.5
