"""The reference rows: what each of the obvious methods answers."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from jobs.references import History, all_references, lookup, nearest, nothing, personal_else
from tests.jobs.worlds import MONDAY, write_mined


def history(*turns: tuple[str, float, str, str]) -> History:
    """Rows of user, second, text, status."""
    rows = [
        {"user_id": u, "timestamp": MONDAY + pd.Timedelta(seconds=s), "text": t, "status": status, "interrupted": False}
        for u, s, t, status in turns
    ]
    return History.of(pd.DataFrame(rows))


def moved(
    user: str, second: float = 0.0, to: str = "play jazz", gap_s: float = 10.0
) -> list[tuple[str, float, str, str]]:
    return [(user, second, "play jas", "no_match"), (user, second + gap_s, to, "ok")]


def test_the_lookup_answers_with_what_most_users_moved_to() -> None:
    past = history(*moved("a"), *moved("b"), *moved("c", to="play gas"))
    assert lookup(["play jas"], past, 1).rewrites == ("play jazz",)


def test_one_user_saying_it_often_is_still_one_user() -> None:
    past = history(*moved("a"), *moved("a", 1000), *moved("a", 2000))
    assert lookup(["play jas"], past, 2).rewrites == (None,)
    assert lookup(["play jas"], past, 1).rewrites == ("play jazz",)


@pytest.mark.parametrize(
    "turns",
    [moved("a", gap_s=41), moved("a", to="stop"), moved("a", to="play jas")],
    ids=["too late", "too different", "a literal repeat"],
)
def test_a_follow_up_must_be_soon_similar_and_another_text(turns: list[tuple[str, float, str, str]]) -> None:
    assert lookup(["play jas"], history(*turns), 1).rewrites == (None,)


def test_literal_repeats_do_not_outvote_a_real_move() -> None:
    past = history(*moved("a", to="play jas"), *moved("b", to="play jas"), *moved("c"))
    assert lookup(["play jas"], past, 1).rewrites == ("play jazz",)


def test_a_follow_up_that_fails_too_is_no_target() -> None:
    past = history(("a", 0, "play jas", "no_match"), ("a", 5, "play jaz", "no_match"))
    assert lookup(["play jas"], past, 1).rewrites == (None,)


def test_a_text_that_mostly_works_is_left_alone() -> None:
    past = history(*moved("a"), *((f"u{n}", 0, "play jas", "ok") for n in range(3)))
    assert lookup(["play jas"], past, 1).rewrites == (None,)


def test_turns_of_different_users_are_no_follow_up() -> None:
    past = history(("a", 0, "play jas", "no_match"), ("b", 5, "play jazz", "ok"))
    assert lookup(["play jas"], past, 1).rewrites == (None,)


def test_the_order_of_the_log_does_not_matter() -> None:
    turns = [*moved("a"), *moved("b", to="play gas"), *moved("c")]
    assert history(*turns).moves.equals(history(*turns[::-1]).moves)


def test_a_log_without_outcome_columns_still_has_follow_ups() -> None:
    log = history(*moved("a")).turns
    bare = pd.DataFrame({"user_id": "a", "text": log["text"], "timestamp": [MONDAY, MONDAY + pd.Timedelta(seconds=9)]})
    assert lookup(["play jas"], History.of(bare), 1).rewrites == ("play jazz",)


@given(st.lists(st.text("abc ", max_size=6), max_size=8), st.lists(st.text("abc ", max_size=6), max_size=8))
def test_the_nearest_text_is_that_of_a_plain_scan(queries: list[str], texts: list[str]) -> None:
    for query, found in zip(queries, nearest(queries, texts, 60.0).rewrites, strict=True):
        best = max((fuzz.ratio(query, t) for t in texts), default=0.0)
        if best <= 60 or query in texts:
            assert found is None
        else:
            assert found in texts
            assert fuzz.ratio(query, found) == pytest.approx(best)


def test_own_texts_come_before_global_ones() -> None:
    near = nearest(["play jas", "play jas"], ["play jaz"], 80)
    found = personal_else(["play jas", "play jas"], ["a", "b"], {"a": ["play jasper"]}, near, 80)
    assert found.rewrites == ("play jasper", "play jaz")


def test_a_query_that_is_an_own_text_is_left_alone() -> None:
    near = nearest(["play jas"], ["play jaz"], 80)
    assert personal_else(["play jas"], ["a"], {"a": ["play jas"]}, near, 80).rewrites == (None,)


def test_nothing_rewrites_nothing() -> None:
    assert nothing(["a", "b"]).rewrites == (None, None)


def test_every_reference_answers_every_query(tmp_path: Path) -> None:
    found = all_references(["play jas", "unheard of"], ["u0", "new"], write_mined(tmp_path / "mined"))
    assert all(len(a.rewrites) == len(a.confidence) == 2 for a in found.values())
    assert found["nearest global text > 80"].rewrites == ("play jazz", None)
