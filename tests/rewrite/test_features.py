"""What the decision sees of a session: how a candidate continues it."""

import math

import pytest

from rewrite.features import CHEAP_FEATURES
from rewrite.rewriter import Scorer
from rewrite.spaces import Knowledge, KnownText, Personal
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


def test_at_the_beginning_of_a_session_nothing_is_known_of_it() -> None:
    assert all(math.isnan(value) for row in told("play it again").values() for value in row)
