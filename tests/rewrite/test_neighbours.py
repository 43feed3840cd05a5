"""Neighbours: the same as plain scans in every view, and what is added or removed counts at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz

from jobs.world.grammar import generate
from rewrite.neighbours import TURNS, VIEWS, Neighbours, Scan, nearest, take_turns, top_rows
from tests.reference import plain_neighbours

TEXTS = generate(300, np.random.default_rng(0))
QUERIES = ["plate the golden river", "said a timer for ten minutes", "cal mom", "zzz", "", "é ß", "play"]
WORD = st.text("aeknt é", min_size=1, max_size=8).map(lambda w: " ".join(w.split())).filter(bool)
SPACE = st.lists(WORD, max_size=12)


def scan(neighbours: Neighbours) -> Scan:
    assert isinstance(neighbours._first, Scan)
    return neighbours._first


@pytest.mark.parametrize("query", QUERIES)
def test_every_view_scores_as_a_plain_scan_does(query: str) -> None:
    found = scan(Neighbours(TEXTS)).scores([query])[0]
    np.testing.assert_allclose(found, plain_neighbours.scores(query, TEXTS, TEXTS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("limit", [1, 7, 40])
@pytest.mark.parametrize("query", QUERIES[:3])
def test_the_texts_named_are_those_of_the_plain_scan(query: str, limit: int) -> None:
    rows = plain_neighbours.taken(scan(Neighbours(TEXTS)).scores([query])[0], [VIEWS.index(v) for v in TURNS], limit)
    expected = [(TEXTS[row], fuzz.ratio(query, TEXTS[row])) for row in rows]
    assert Neighbours(TEXTS).named(query, limit) == expected
    assert Neighbours(TEXTS).near(query, limit) == sorted(expected, key=lambda pair: -pair[1])


def test_each_view_finds_what_the_others_miss() -> None:
    space = [*(f"nile mare wake {n}" for n in range(50)), "knight meyer weighs", "wonderwall by oasis please play it"]
    texts = [text for text, _ in Neighbours(space).near("nite mare waze", 9)]
    assert "knight meyer weighs" in texts
    texts = [text for text, _ in Neighbours(space).near("play wonderwall", 4)]
    assert "wonderwall by oasis please play it" in texts


@settings(deadline=None)
@given(SPACE, WORD, st.integers(0, 15))
def test_a_larger_limit_only_adds_texts_and_a_large_one_gives_all(space: list[str], query: str, limit: int) -> None:
    neighbours = Neighbours(space)
    some, more = neighbours.near(query, limit), neighbours.near(query, limit + 1)
    assert set(some) <= set(more)
    assert len(some) == min(limit, len(set(space)))
    assert {text for text, _ in neighbours.near(query, 99)} == set(space)


@settings(deadline=None)
@given(SPACE.filter(bool), WORD)
def test_the_nearest_by_ratio_comes_first(space: list[str], query: str) -> None:
    found = Neighbours(space).near(query, 5)
    assert found[0][1] == nearest(query, space, 1)[0][1]
    assert [score for _, score in found] == sorted((fuzz.ratio(query, text) for text, _ in found), reverse=True)


@settings(deadline=None)
@given(SPACE, SPACE, SPACE, WORD)
def test_added_texts_are_near_and_removed_ones_are_not(
    space: list[str], added: list[str], removed: list[str], query: str
) -> None:
    neighbours = Neighbours(space)
    neighbours.add(added)
    neighbours.remove(removed)
    expected = (set(space) | set(added)) - set(removed)
    assert {text for text, _ in neighbours.near(query, 99)} == expected
    assert len(neighbours) == len(expected)
    assert all((text in neighbours) == (text in expected) for text in {*space, *added, *removed})
    neighbours.add(removed)
    assert {text for text, _ in neighbours.near(query, 99)} == expected | set(removed)


def test_texts_added_later_score_as_a_plain_scan_with_the_first_weights() -> None:
    neighbours = Neighbours(TEXTS[:200])
    neighbours.add(TEXTS[200:])
    assert neighbours._fresh is not None
    parts = (scan(neighbours), neighbours._fresh)
    found = np.concatenate([part.scores(["said a timer"])[0] for part in parts], axis=1)
    expected = plain_neighbours.scores("said a timer", TEXTS, TEXTS[:200])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_space_that_more_than_doubles_is_weighted_anew() -> None:
    grown, whole = Neighbours(TEXTS[:10]), Neighbours(TEXTS)
    grown.add(TEXTS[10:])
    assert grown.near("said a timer", 20) == whole.near("said a timer", 20)


def test_many_queries_get_what_each_gets_alone() -> None:
    neighbours = Neighbours(TEXTS)
    queries = [*QUERIES, *TEXTS[:40]]
    assert neighbours.named_many(queries, 9) == [neighbours.named(query, 9) for query in queries]
    assert neighbours.named_many([], 9) == []


@pytest.mark.parametrize("query", ["", "play jazz"])
def test_an_empty_space_has_no_neighbours(query: str) -> None:
    assert Neighbours([]).near(query, 5) == []


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="limit of 0 or more, got -1"):
        Neighbours(TEXTS).near("play", -1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(0, 25))
def test_the_top_rows_are_those_of_a_stable_sort(scores: list[int], count: int) -> None:
    found = top_rows(np.array(scores, dtype=np.float32), count)
    assert found.tolist() == sorted(range(len(scores)), key=lambda row: -scores[row])[:count]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 3)] * len(VIEWS)), min_size=1, max_size=12), st.integers(0, 15))
def test_the_views_take_turns_as_the_plain_ones_do(scores: list[tuple[int, ...]], count: int) -> None:
    views = np.array(scores, dtype=np.float32).T
    expected = plain_neighbours.taken(views, [VIEWS.index(view) for view in TURNS], count)
    assert take_turns(views, count) == expected
