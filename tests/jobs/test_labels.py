"""What held-back turns say of a text as it was said, when some of them were rewritten."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from jobs import labels
from jobs.acted import as_said
from jobs.labels import intent_defect_rates, meanings
from jobs.learn import with_proven
from jobs.sequels import sequels
from jobs.ties import fit_ties
from rewrite.judged import Judged
from rewrite.sequels import Sequels
from rewrite.spaces import Knowledge, KnownText, Pair, Personal
from rewrite.turn import Reading
from tests.rewrite import world

START = datetime(2026, 3, 1, tzinfo=UTC)
NOTHING = Knowledge({}, {}, {}, Personal({}))
HEARD, MEANT = "play alien bridges", "play ancient bridges"


def turn(
    second: float, said: str, defect: float, acted: str | None = None, user: str = "u", **more: Any
) -> dict[str, Any]:
    rewrite = {"text": acted, "holdout": False} if acted else None
    return {
        "interaction_id": f"{user}{second}",
        "user_id": user,
        "timestamp": START + timedelta(seconds=second),
        "utterance": said,
        "intent": "play",
        "defect_probability": defect,
        "text": said,
        "effective_text": acted or said,
        "rewrite": rewrite,
        **more,
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def judged_turns(rows: pa.Table) -> list[Judged]:
    return labels.judged_turns(rows, START, NOTHING, fit_ties(rows, 0))


def test_a_turn_that_a_rewrite_cured_would_have_failed_and_wanted_the_rewrite() -> None:
    unhurt = turn(0, HEARD, 0.9, user="v")
    found = judged_turns(table(unhurt, turn(0, HEARD, 0.1, MEANT)))
    (cured,) = [j for j in found if j.turn.user_id == "u"]
    assert cured.want is not None
    assert cured.want.text == MEANT
    assert cured.p_signals == pytest.approx(0.9)
    assert cured.turn.reading.intent == "play"


def test_a_text_that_goes_well_if_left_alone_needed_no_rewrite() -> None:
    held = turn(0, HEARD, 0.0, user="h", rewrite={"text": MEANT, "holdout": True})
    found = judged_turns(table(held, turn(0, HEARD, 0.1, MEANT)))
    assert [(j.turn.user_id, j.fails) for j in found] == [("h", False)]


def test_what_was_never_left_alone_is_not_known_to_fail() -> None:
    assert judged_turns(table(turn(0, HEARD, 0.1, MEANT))) == []


def test_a_rewrite_that_failed_says_nothing_of_what_was_said() -> None:
    found = judged_turns(table(turn(0, MEANT, 0.95, "stop"), turn(0, MEANT, 0.0, user="v")))
    assert [(j.turn.user_id, j.fails) for j in found] == [("v", False)]


def test_what_a_rewritten_follow_up_got_them_is_what_they_wanted() -> None:
    rows = table(turn(0, "play alien bridge", 0.9), turn(9, HEARD, 0.1, MEANT), turn(900, HEARD, 0.9))
    first = judged_turns(rows)[0]
    assert first.want is not None
    assert first.want.text == MEANT


def leaning(*more: dict[str, Any]) -> list[dict[str, Any]]:
    """Forty users ask for a song, and again in words that only the session explains; forty others are misheard."""

    def song(n: int) -> dict[str, Any]:
        return {"intent": "play", "slots": [{"name": "song", "value": f"number {n}"}]}

    rows = []
    for n in range(40):
        rows += [
            turn(0, f"play number {n}", 0.0, user=f"a{n}", **song(n)),
            turn(9, "once more", 0.9, user=f"a{n}", intent=None),
        ]
        rows += [turn(18, f"play number {n}", 0.0, user=f"a{n}", **song(n))]
        rows += [
            turn(0, "stop", 0.0, user=f"b{n}", intent="stop"),
            turn(9, f"pay number {n}", 0.9, user=f"b{n}", intent=None),
        ]
        rows += [turn(18, f"play number {n}", 0.0, user=f"b{n}", **song(n))]
    return [*rows, *more]


def wants_of(rows: list[dict[str, Any]], user: str) -> list[str | None]:
    found = judged_turns(table(*rows))
    return [j.want.text if j.want else None for j in found if j.turn.user_id == user and j.fails]


def test_what_leans_on_the_session_wanted_what_is_tied_to_it_however_unlike_it() -> None:
    assert wants_of(leaning(), "a7") == ["play number 7"]
    assert wants_of(leaning(), "b7") == ["play number 7"]


def test_the_words_that_failed_tell_what_was_wanted_unless_they_lean_on_the_session() -> None:
    found = judged_turns(table(*leaning()))
    heard = {j.turn.utterance: j.want.heard for j in found if j.want is not None}
    assert (heard["pay number 7"], heard["once more"], heard["stop"]) == ("pay number 7", None, None)


def test_the_words_of_a_mined_pair_that_failed_tell_what_those_wanted_who_gave_up() -> None:
    known = KnownText(MEANT, Reading(None, "play"), 5, 5, 5, 1.0, 0.8)
    knowledge = Knowledge({MEANT: known}, {HEARD: [Pair(MEANT)]}, {}, Personal({}))
    rows = table(turn(0, HEARD, 0.9, intent=None))
    (judged,) = labels.judged_turns(rows, START, knowledge, fit_ties(rows, 0))
    assert judged.want is not None
    assert (judged.want.text, judged.want.heard) == (MEANT, HEARD)


def agreeing(*rows: dict[str, Any]) -> list[str | None]:
    """What user `c` wanted by a text that six others failed with, four of them for the news, in words of their own."""
    others = []
    for n, intent in enumerate(["news"] * 4 + ["stop", "time"]):
        others += [turn(0, "user friendly", 0.9, user=f"o{n}", intent=None)]
        others += [turn(90, f"{intent} in words {n}", 0.0, user=f"o{n}", intent=intent)]
    table_of = table(*others, *rows)
    knowledge = Knowledge({}, {}, {}, Personal({}), Sequels.of(sequels(table_of, 2)))
    found = labels.judged_turns(table_of, START, knowledge, None)
    return [j.want.text if j.want else None for j in found if j.turn.user_id == "c" and j.fails]


def test_a_follow_up_of_the_intent_that_users_agree_on_counts_however_unlike_it() -> None:
    failed = turn(0, "user friendly", 0.9, user="c", intent=None)
    assert agreeing(failed, turn(9, "what happened today", 0.0, user="c", intent="news")) == ["what happened today"]
    assert agreeing(failed, turn(9, "user friend", 0.0, user="c", intent="stop")) == [None]


def test_a_follow_up_that_mining_found_to_belong_to_it_counts_however_unlike_it() -> None:
    rows = table(turn(0, HEARD, 0.9, intent=None), turn(9, "stop", 0.0, intent="stop"))
    mined = Knowledge({}, {HEARD: [Pair("stop")]}, {}, Personal({}))
    wants = [[j.want and j.want.text for j in labels.judged_turns(rows, START, k, None)] for k in (mined, NOTHING)]
    assert wants == [["stop", "stop"], [None, "stop"]]


def test_one_user_does_not_tell_what_a_text_means_where_others_went_on_to_other_things() -> None:
    rows = [turn(0, "hum", 0.9, user="c", intent=None)]
    rows += [turn(0, "hum", 0.9, user="d", intent=None), turn(9, "hum along", 0.0, user="d", intent="hum")]
    assert agreeing(*rows) == ["hum along"]
    for n, intent in enumerate(["stop", "stop", "play", "play", "time"]):
        rows += [turn(0, "hum", 0.9, user=f"p{n}", intent=None), turn(90, intent, 0.0, user=f"p{n}", intent=intent)]
    assert agreeing(*rows) == [None]
    rows += [turn(0, "hum", 0.9, user="e", intent=None), turn(9, "hum along", 0.0, user="e", intent="hum")]
    assert agreeing(*rows) == ["hum along"]


def test_what_others_wanted_by_words_that_lean_on_the_session_tells_nothing() -> None:
    gave_up = [turn(0, "play number 3", 0.0, user="c"), turn(9, "once more", 0.9, user="c", intent=None)]
    misheard = [turn(0, "stop", 0.0, user="d", intent="stop"), turn(9, "pay number 3", 0.9, user="d", intent=None)]
    rows = leaning(*gave_up, *misheard)
    assert wants_of(rows, "c") == [None]
    assert wants_of(rows, "d") == ["play number 3"]


def test_a_follow_up_that_resembles_it_tells_what_it_wanted_where_none_is_tied_to_the_session() -> None:
    other = [turn(0, "stop", 0.0, user="c", intent="stop"), turn(9, "once more", 0.9, user="c", intent=None)]
    resembling = leaning(*other, turn(18, "play once more", 0.0, user="c"))
    (want,) = [j.want for j in judged_turns(table(*resembling)) if j.turn.user_id == "c" and j.fails]
    assert want is not None
    assert (want.text, want.heard) == ("play once more", None)
    assert wants_of(leaning(*other, turn(18, "what time is it", 0.0, user="c", intent="time")), "c") == [None]


def test_rates_of_intents_are_those_of_what_was_said() -> None:
    rows = table(*[turn(n, MEANT, 1.0, "stop") for n in range(200)], *[turn(n, MEANT, 0.0, user="v") for n in range(9)])
    assert as_said(rows).num_rows == 9
    assert intent_defect_rates(rows) == {"play": 0.0}


def test_a_failed_text_means_what_its_users_then_got() -> None:
    said = table(
        turn(0, HEARD, 0.9, intent="quirky"),
        turn(9, MEANT, 0.1),
        turn(0, HEARD, 0.9, intent="quirky", user="v"),
        turn(9, "stop", 0.1, intent="stop", user="v"),
    )
    pairs = pa.table({"source": pa.array([], pa.string()), "target": pa.array([], pa.string())})
    found = sorted((t, i, round(w, 3)) for t, i, w in zip(*meanings(said, pairs, sequels(said, 1)), strict=True))
    share = round(2 / 2**0.5, 3)
    assert found == [(HEARD, "play", share), (HEARD, "stop", share), (MEANT, "play", 1.0), ("stop", "stop", 1.0)]


def test_pairs_that_the_holdout_proved_stay_when_nobody_corrects_themselves_any_more() -> None:
    shown = {"turns": 20, "wins": 19, "users": 7, "success_rate": 0.95, "holdout_turns": 10}
    shown |= {"holdout_success_rate": 0.1, "gain_lower": 0.5}
    verdicts = (("a", "b", "keep"), ("c", "d", "keep"), ("e", "f", "watch"))
    outcomes = world.table(
        "rewrite_outcomes", [{"source": s, "target": t, "verdict": verdict, **shown} for s, t, verdict in verdicts]
    )
    mined = world.table("rewrites", [{"source": "a", "target": "b", "count": 3}])
    found = with_proven(mined, outcomes).to_pylist()
    assert [(r["source"], r["target"], r["count"]) for r in found] == [("a", "b", 3), ("c", "d", 19)]
    assert (found[1]["lower_bound"], found[1]["source_defect_rate"]) == (0.5, 0.9)
    assert with_proven(mined, outcomes.slice(0, 1)) is mined
