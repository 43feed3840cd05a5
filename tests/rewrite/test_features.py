"""What the decision sees of a session: how a candidate continues it."""

import math

import numpy as np
import pytest

from rewrite.classifier import Classifier
from rewrite.features import CHEAP_FEATURES
from rewrite.rewriter import Scorer
from rewrite.spaces import Knowledge, KnownText, Own, OwnText, Personal
from rewrite.ties import TIES, Ties
from rewrite.turn import Reading, Turn

TEXTS = ("play songs by marlow finch", "play songs by leo castellan", "stop")
NAMES = ("previous_ratio", "earlier_ratio", "earlier_words")


def told(query: str, *turns: str, texts: tuple[str, ...] = TEXTS) -> dict[str, tuple[float, ...]]:
    known = {text: KnownText(text, Reading("music", text), 5, 2, 9, 0.9, 0.7) for text in texts}
    scorer = Scorer(Knowledge(known, {}, {}, Personal({})), None, None, None, {})
    considered = scorer.consider(Turn(query, turns=turns), query)
    scorer.propose(considered, 1.0)
    columns = [CHEAP_FEATURES.index(name) for name in NAMES]
    return {p.text: tuple(row[columns]) for p, row in zip(considered.proposals, considered.features, strict=True)}


def test_words_that_the_query_lacks_are_looked_for_in_the_last_three_turns() -> None:
    found = told("play something by them", "who is marlow finch", "what time is it", "stop")
    # "songs", "marlow" and "finch" are new; the latter two were said
    assert found[TEXTS[0]][2] == 2 / 3
    assert found[TEXTS[1]][2] == 0.0
    longer_ago = told("play something by them", "who is marlow finch", "what time is it", "stop", "stop")
    assert longer_ago[TEXTS[0]][2] == 0.0


def test_likeness_is_to_the_turn_before_and_to_the_likest_of_the_last_three() -> None:
    found = told("play it again", TEXTS[0], "what time is it")
    previous, earlier, words = found[TEXTS[0]]
    assert previous < earlier == 100.0
    assert words == 1.0


def test_a_text_said_before_is_judged_though_many_others_are_nearer_to_the_query() -> None:
    crowd = tuple(f"play it {one}{two}" for one in "bcdfghklmnprst" for two in "aeiou")
    assert TEXTS[0] in told("play it", TEXTS[0], texts=(*TEXTS, *crowd))
    assert TEXTS[0] not in told("play it", texts=(*TEXTS, *crowd))


def test_what_the_search_finds_comes_after_all_that_was_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = tuple(f"play it {one}{two}" for one in "bcdfghklmnprst" for two in "aeiou")
    known = {text: KnownText(text, Reading("music", text), 5, 2, 9, 0.9, 0.7) for text in (*TEXTS, *crowd)}
    scorer = Scorer(Knowledge(known, {}, {}, Personal({})), None, None, None, {})
    considered = scorer.consider(Turn("play it", turns=(TEXTS[0],)), "play it")
    scorer.propose(considered, 1.0)
    before = [p.text for p in considered.proposals]
    monkeypatch.setattr(scorer, "_searched", lambda _: ["stop"])
    scorer.search(considered, 1.0)
    assert [p.text for p in considered.proposals] == [*before, "stop"]
    assert len(considered.features) == len(before) + 1


def tied(query: str, *turns: str, mine: tuple[str, ...] = ()) -> dict[str, dict[str, float]]:
    def read(text: str) -> Reading:
        first, _, rest = text.partition(" ")
        return Reading("m", first, frozenset({("what", rest.removeprefix("songs by "))}) if rest else frozenset())

    known = {text: KnownText(text, read(text), 5, 2, 9, 0.9, 0.7) for text in (*TEXTS, "ask marlow finch")}
    own = Own({text: OwnText(text, read(text), 1, 0.0, 1.0) for text in mine})
    model = Classifier(list(TIES), np.zeros((2**15, 4), np.float32), np.log(np.array([1, 2, 3, 4], np.float32) / 10))
    ties = Ties(model, {"again play": 0.75})
    scorer = Scorer(Knowledge(known, {}, {}, Personal({"me": own})), None, None, None, {}, ties=ties)
    considered = scorer.consider(Turn(query, turns=turns, user_id="me"), query)
    scorer.propose(considered, 1.0)
    rows = (dict(zip(CHEAP_FEATURES, row, strict=True)) for row in considered.features)
    return {p.text: found for p, found in zip(considered.proposals, rows, strict=True)}


def test_candidates_are_tied_to_what_was_said_before_and_each_tie_has_its_chance() -> None:
    found = tied("play it", "play songs by marlow finch")
    told = [
        (row["tie"], round(math.exp(row["tie_log_prob"]), 3))
        for row in map(found.__getitem__, (*TEXTS, "ask marlow finch"))
    ]
    assert told == [(3, 0.4), (2, 0.3), (0, 0.1), (1, 0.2)]
    assert [found[text]["slots_kept"] for text in (TEXTS[0], TEXTS[1])] == [1, 0]
    assert {row["ties_alike"] for row in found.values()} == {1}
    assert [found[text]["tie_age"] for text in TEXTS[:2]] == [1, 1]
    assert [found[text]["tie_followed"] for text in TEXTS[:2]] == [0.75, 0.5]
    assert all(math.isnan(found["stop"][name]) for name in ("tie_age", "tie_followed"))


def test_a_users_own_text_ties_as_well_and_one_that_is_not_in_force_ties_nothing() -> None:
    found = tied("play it", "play mine", mine=("play mine",))
    assert (found["play mine"]["tie"], found[TEXTS[0]]["tie"], found["stop"]["tie"]) == (3, 2, 0)
    assert found[TEXTS[0]]["ties_alike"] == 2
    for session in (("play mine",), ()):
        apart = tied("play it", *session)
        assert {row["tie"] for row in apart.values()} == {0}
        assert {round(math.exp(row["tie_log_prob"]), 3) for row in apart.values()} == {0.1}
        assert {row["ties_alike"] for row in apart.values()} == {len(apart)}


def test_at_the_beginning_of_a_session_nothing_is_known_of_it() -> None:
    assert all(math.isnan(value) for row in told("play it again").values() for value in row)
