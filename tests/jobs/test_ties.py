"""What failed texts turned out to have to do with the session before them."""

from math import exp
from typing import Any

import pytest

from jobs.sequels import GAP_S
from jobs.ties import fit_ties
from rewrite.ties import AGAIN, APART, Ties
from tests.jobs.test_labels import START, table, turn

Rows = list[dict[str, Any]]
SONGS = [f"play song {n}" for n in range(20)]


def session(user: int, *said: tuple[str, str | None, float], seconds: float = 15.0) -> Rows:
    """Texts with their intents and defect probabilities, one after the other."""
    return [
        turn(n * seconds, text, defect, user=f"u{user}", intent=intent, slots=slots(intent, text))
        for n, (text, intent, defect) in enumerate(said)
    ]


def slots(intent: str | None, text: str) -> list[dict[str, str]]:
    return [{"name": "what", "value": text}] if intent == "play" else []


def played(song: str) -> tuple[str, str, float]:
    return song, "play", 0.0


def world(gap_s: float = 15.0) -> Rows:
    """ "again please" is followed by the song before it, what was misheard by another one."""
    rows: Rows = []
    for user, song in enumerate(SONGS):
        rows += session(user, played(song), ("again please", None, 0.9), played(song), seconds=gap_s)
    for user, song in enumerate(SONGS):
        rows += session(50 + user, ("stop", "stop", 0.0), (f"lay {song[5:]}", None, 0.9), played(song), seconds=gap_s)
    return rows


def fitted(rows: Rows) -> Ties:
    found = fit_ties(table(*rows), 0)
    assert found is not None
    return found


def test_a_text_that_is_followed_by_what_came_before_it_leans_on_the_session() -> None:
    ties = fitted(world())
    assert exp(ties.log_probs("again please")[AGAIN]) > 0.8
    assert ties.lean("again please")
    assert ties.lean("again peas")
    assert exp(ties.log_probs("lay song 3")[APART]) > 0.6
    assert not ties.lean("lay song 3")


def test_nothing_leans_where_all_texts_are_tied_alike_or_no_log_tells() -> None:
    assert fit_ties(table(*world()[: 3 * len(SONGS)]), 0) is None
    assert fit_ties(table(*world()).drop_columns(["intent"]), 0) is None


@pytest.mark.parametrize("change", ["late", "rewritten", "nothing went well before"])
def test_what_tells_nothing_is_left_out(change: str) -> None:
    rows = world(GAP_S + 1 if change == "late" else 15.0)
    for row in rows if change == "rewritten" else []:
        if row["defect_probability"] > 0.5:
            row["effective_text"] = "something else"
    if change == "nothing went well before":
        first = [row for row in rows if row["timestamp"] == START]
        assert len(first) == 2 * len(SONGS)
        for row in first:
            row["defect_probability"] = 0.9
    assert fit_ties(table(*rows), 0) is None


def test_one_user_has_one_vote_however_often_they_speak() -> None:
    often = [
        row | {"interaction_id": f"{n}{row['interaction_id']}", "timestamp": row["timestamp"].replace(hour=n)}
        for n in range(1, 20)
        for row in session(70, ("stop", "stop", 0.0), ("again please", None, 0.9), played("play song 3"))
    ]
    assert fitted(world() + often).lean("again please")


def test_it_is_counted_what_is_followed_so() -> None:
    """A song that was asked for is asked for again; the time that was asked for between them is not."""
    rows = world()
    for n in range(20):
        said = played(f"play song {n}")
        rows += session(100 + n, said, ("what time is it", "time", 0.0), ("again please", None, 0.9), said)
    followed = fitted(rows).followed
    assert followed["again play"] > 0.9
    assert followed["again time"] < 0.1
