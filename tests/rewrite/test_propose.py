"""What may be proposed: texts in force, never the query, never a blocked text, never another user's own."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.propose import COMMONEST, EARLIER, NEAR_THE_LAST, OF_A_KIND, Proposer
from rewrite.spaces import Knowledge, KnownText, Own, OwnText, Pair, Personal
from rewrite.turn import Reading

TEXTS = [f"play {word}" for word in ("jazz", "jizz", "rock", "rack", "blues", "blue", "soul")]
SOME = st.lists(st.sampled_from(TEXTS), unique=True)
PAIRS = st.dictionaries(st.sampled_from(TEXTS), SOME, max_size=4)


def known(text: str) -> KnownText:
    return KnownText(text, Reading("music", text), 5, 2, 9, 0.9, 0.7)


def own_text(text: str) -> OwnText:
    return OwnText(text, Reading("music", text), 2, 0.0, 1.0)


def made(shared: list[str], mine: list[str], theirs: list[str], mined: dict, own_pairs: dict) -> tuple[Knowledge, Own]:
    own = Own({t: own_text(t) for t in mine}, {s: [Pair(t, count=3) for t in ts] for s, ts in own_pairs.items()})
    other = Own({t: own_text(t) for t in theirs}, {s: [Pair(t) for t in theirs] for s in TEXTS})
    look_up = {s: [Pair(t, 0.5, 0.4) for t in ts] for s, ts in mined.items()}
    personal = Personal({"me": own, "other": other})
    return Knowledge({t: known(t) for t in shared}, look_up, {}, personal), personal.of("me")


@given(SOME, SOME, SOME, PAIRS, PAIRS, SOME, SOME, SOME, st.sampled_from(TEXTS))
def test_every_proposal_is_in_force_and_none_is_blocked_or_the_query(
    shared: list[str],
    mine: list[str],
    theirs: list[str],
    mined: dict[str, list[str]],
    own_pairs: dict[str, list[str]],
    searched: list[str],
    turns: list[str],
    blocked: list[str],
    query: str,
) -> None:
    knowledge, own = made(shared, mine, theirs, mined, own_pairs)
    proposer = Proposer(knowledge, blocked)
    proposals = proposer.propose(query, own, proposer.neighbours(query, own), searched, turns)
    texts = [p.text for p in proposals]
    assert len(texts) == len(set(texts))
    # With so few texts every one of them is a neighbour: nothing in force is left out either.
    assert set(texts) == (set(shared) | set(mine)) - set(blocked) - {query}
    for p in proposals:
        assert p.space == ("personal" if p.text in mine else "global")
        assert p.sources
        assert ("lookup" in p.sources) == (p.text in mined.get(query, [])) == (p.pair is not None)
        assert (p.own_pair_count == 3) == (p.text in own_pairs.get(query, [])) == ("own_lookup" in p.sources)
        assert ("search" in p.sources) == (p.text in searched)
        if p.text in (*turns[-EARLIER:], *mined.get(turns[-1] if turns else "", [])):
            assert "earlier" in p.sources
        assert turns or "earlier" not in p.sources


def test_another_users_own_text_is_never_proposed() -> None:
    knowledge, own = made(["play jazz"], [], ["play secret"], {"play sacred": ["play secret"]}, {})
    proposer = Proposer(knowledge)
    proposals = proposer.propose("play sacred", own, proposer.neighbours("play sacred", own), ["play secret"])
    assert [p.text for p in proposals] == ["play jazz"]
    other = knowledge.personal.of("other")
    theirs = proposer.propose("play sacred", other, proposer.neighbours("play sacred", other))
    assert [(p.text, p.space) for p in theirs] == [("play secret", "personal"), ("play jazz", "global")]


def test_what_the_session_said_before_is_proposed_though_it_is_far_from_the_query() -> None:
    songs = [f"listen to {one}{two}" for one in "bcdfghklmnprst" for two in "aeiou"]
    crowd = [f"play it {one}{two}" for one in "bcdfghklmnprst" for two in "aeiou"]
    knowledge, own = made([*songs, *crowd], ["mine"], [], {songs[3]: [songs[60]]}, {})
    proposer = Proposer(knowledge, [songs[40]])
    turns = (songs[10], songs[20], songs[40], "never heard of", songs[3])
    found = {p.text: p for p in proposer.propose("play it", own, proposer.neighbours("play it", own), turns=turns)}
    alone = {p.text for p in proposer.propose("play it", own, proposer.neighbours("play it", own))}
    assert not alone & set(songs)
    assert {songs[3], songs[60]} < found.keys()
    assert not found.keys() & {songs[10], songs[20], songs[40], "never heard of"}
    near = {t for t in found if t in songs} - {songs[3], songs[60]}
    assert 0 < len(near) <= NEAR_THE_LAST
    assert all(found[t].sources == ["earlier"] for t in (songs[3], songs[60], *near))


def lit(text: str, intent: str, room: str) -> KnownText:
    return KnownText(text, Reading("home", intent, frozenset({("room", room)})), 5, 2, 9, 0.9, 0.7)


def proposed_after(before: str, texts: list[KnownText], mine: list[str], blocked: list[str]) -> dict[str, list[str]]:
    crowd = {
        text: known(text) for text in (f"and so {a}{b}{c}" for a in "bdgkt" for b in "aeiou" for c in "bcdfghklmnprst")
    }
    owned = {
        text: OwnText(text, Reading("home", "lights_on", frozenset({("room", "loft")})), 2, 0.0, 1.0) for text in mine
    }
    knowledge = Knowledge(crowd | {t.text: t for t in texts}, {}, {}, Personal({"me": Own(owned)}))
    proposer, own = Proposer(knowledge, blocked), knowledge.personal.of("me")
    found = proposer.propose("and so", own, proposer.neighbours("and so", own), turns=(before,))
    return {p.text: p.sources for p in found if p.text not in crowd}


def test_what_has_the_intent_of_an_earlier_request_or_a_value_of_it_is_proposed() -> None:
    rooms = [lit(f"switch the lamps of room {n} on", "lights_on", f"{n}") for n in range(4)]
    off = [lit(f"all dark, number {n}", "lights_off", f"{n}") for n in range(4)]
    # the nearest to what was said before would be proposed anyway: these are
    nearer = [lit(f"switch the lamps of room 1 on {n}", "blink", "x") for n in range(NEAR_THE_LAST)]
    texts = [*rooms, *off, *nearer]
    found = proposed_after(rooms[1].text, texts, ["loft lamps"], [rooms[2].text, off[3].text])
    assert found.keys() - {t.text for t in nearer} == {
        rooms[0].text,
        rooms[1].text,
        rooms[3].text,
        off[1].text,
        "loft lamps",
    }
    assert "earlier" in found["loft lamps"]
    assert not {off[1].text, rooms[0].text} & set(proposed_after("and so dab", texts, ["loft lamps"], []))


def test_of_many_such_texts_the_nearest_and_the_commonest_are_proposed() -> None:
    rooms = [lit(f"switch the lamps of room {n} on", "lights_on", f"{n}") for n in range(30)] + [
        lit("and so on", "lights_on", "x")
    ]
    off = [replace(lit(f"dark {n}", "lights_off", "0"), users=n) for n in range(30)]
    found = proposed_after(rooms[0].text, [*rooms, *off], [], [])
    assert sum(text.startswith("dark") for text in found) == OF_A_KIND
    assert {f"dark {n}" for n in range(25, 30)} < set(found)
    without = proposed_after(rooms[0].text, [*rooms, *off], [], [f"dark {n}" for n in range(25, 30)])
    assert {text for text in without if text.startswith("dark")} == {f"dark {n}" for n in range(20, 25)}
    near = [text for text in found if text.startswith("switch")]
    assert OF_A_KIND <= len(near) <= OF_A_KIND + NEAR_THE_LAST + 1
    assert "and so on" in found


def test_a_blocked_text_is_not_even_a_neighbour() -> None:
    knowledge, own = made(["play jazz", "play rock"], ["play soul"], [], {}, {})
    found = Proposer(knowledge, ["play jazz", "play soul"]).neighbours("play jizz", own)
    assert [text for text, _, _ in found] == ["play rock"]


def test_the_nearest_come_first_in_each_space() -> None:
    knowledge, own = made(TEXTS, ["play soul", "play jazz"], [], {}, {})
    found = Proposer(knowledge).neighbours("play jazzz", own)
    assert found[0][0] == "play jazz"
    for source in ("neighbour", "own"):
        scores = [score for _, score, s in found if s == source]
        assert scores == sorted(scores, reverse=True)
        assert scores


def test_many_texts_of_one_reading_do_not_crowd_out_another() -> None:
    shared = {f"play jazz {n}": KnownText(f"play jazz {n}", Reading("m", "jazz"), 5, 2, 9, 0.9, 0.7) for n in range(40)}
    shared["lay it down"] = known("lay it down")
    found = Proposer(Knowledge(shared, {}, {}, Personal({}))).neighbours("play jazz", Own())
    assert [text for text, _, _ in found][-1] == "lay it down"
    assert len(found) == 6


@pytest.mark.parametrize("query", ["", "play jazz"])
def test_an_empty_space_proposes_nothing(query: str) -> None:
    proposer = Proposer(Knowledge({}, {query: [Pair("gone")]}, {}, Personal({})))
    assert proposer.propose(query, Own(), proposer.neighbours(query, Own()), ["gone"]) == []


def test_numbers_of_own_texts_are_compared_as_said() -> None:
    knowledge, own = made(["play 1986 hits"], ["play 1996 hits"], [], {}, {})
    found = Proposer(knowledge).neighbours("play nineteen ninety six hits", own)
    assert ("play 1996 hits", 100.0, "own") in found
    assert found[0][0] == "play 1986 hits"
    assert 80 < found[0][1] < 100
    knowledge, own = made([], ["play nineteen ninety six hits"], [], {}, {})
    assert Proposer(knowledge).neighbours("play 1996 hits", own) == [("play nineteen ninety six hits", 100.0, "own")]


def test_a_blocked_own_text_keeps_out_none_of_the_users_others() -> None:
    mine = [f"loft lamps {n}" for n in range(2 * OF_A_KIND)]
    rooms = [lit("switch the lamps of the hall on", "lights_on", "hall")]
    found = proposed_after(rooms[0].text, rooms, mine, mine[:OF_A_KIND])
    assert [text for text in mine if "earlier" in found.get(text, [])] == mine[OF_A_KIND:]


def test_only_the_commonest_texts_of_an_intent_and_of_a_value_are_looked_through() -> None:
    """However large a space is, what an earlier turn adds takes the same time."""
    rooms = [replace(lit(f"switch the lamps of room {n} on", "lights_on", "0"), users=n) for n in range(COMMONEST + 9)]
    rare = [replace(lit("and so on", "lights_on", "0"), users=0), replace(lit("all dark", "lights_off", "0"), users=0)]
    few, many = (proposed_after(rooms[0].text, [*some, *rare], [], []) for some in (rooms[:50], rooms))
    assert [["earlier" in found.get(t.text, []) for t in rare] for found in (few, many)] == [[True] * 2, [False] * 2]
