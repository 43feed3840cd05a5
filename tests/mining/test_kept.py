"""How much of what was said is said again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.kept import kept

WORDS = st.lists(st.sampled_from(["play", "the", "river", "rivers", "moon", "stop", "a"]), max_size=5)
RARITY = {"play": 6.0, "the": 3.0, "river": 9.0, "rivers": 10.0, "moon": 9.0, "stop": 7.0, "a": 3.0}


@given(WORDS, WORDS, st.booleans())
def test_it_is_a_share_that_knows_no_order(mine: list[str], theirs: list[str], weighed: bool) -> None:
    rarity = RARITY.__getitem__ if weighed else None
    share = kept(mine, theirs, rarity)
    assert 0 <= share <= 1
    assert share == kept(mine[::-1], theirs[::-1] * 2, rarity)
    assert kept(mine, mine, rarity) == pytest.approx(float(bool(mine)))


def test_words_weigh_the_cube_of_their_rarity() -> None:
    rarity = RARITY.__getitem__
    assert kept(["the", "moon"], ["moon"], rarity) == pytest.approx(729 / (729 + 27))
    assert kept(["the", "moon"], ["the"], rarity) == pytest.approx(27 / (729 + 27))
    assert kept(["the", "moon"], ["the"], None) == 0.5


def test_a_word_of_another_form_counts_and_an_unlike_word_does_not() -> None:
    assert 0.85 < kept(["river"], ["rivers"], None) < 1
    assert kept(["river"], ["moon", "play"], None) == 0
