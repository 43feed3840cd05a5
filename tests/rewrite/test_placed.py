"""Placed pairs: vectors, the same alone and among others, that find what the character ratio finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz, process

from jobs.world.grammar import generate
from rewrite.placed import BINS, BUCKETS, SLOTS, PlacedPairs, placed_pairs, unit

TEXTS = generate(1500, np.random.default_rng(2))
ENCODER = PlacedPairs(TEXTS)
WRITTEN = st.lists(st.text(max_size=12), max_size=5)


@settings(deadline=None)
@given(WRITTEN)
def test_every_pair_of_characters_weighs_one_in_all(texts: list[str]) -> None:
    found = placed_pairs(texts)
    assert found.shape == (len(texts), BUCKETS * SLOTS)
    np.testing.assert_allclose(np.asarray(found.sum(axis=1)).ravel(), [len(text) + 1 for text in texts], rtol=1e-5)


def test_a_pair_lies_in_the_stretches_around_it() -> None:
    held = placed_pairs(["abcdefgh" * 2]).tocoo()
    places = [(slot % SLOTS) for slot in held.coords[1]]
    assert min(places) == 0
    assert max(places) <= BINS + 1
    first, last = placed_pairs(["xy" + "a" * 30]), placed_pairs(["a" * 30 + "xy"])
    pair = placed_pairs(["xy"]).nonzero()[1] // SLOTS
    assert all(abs(first - last)[:, bucket * SLOTS : (bucket + 1) * SLOTS].sum() > 0.5 for bucket in set(pair[2:4]))


@settings(deadline=None, max_examples=30)
@given(WRITTEN)
def test_vectors_are_finite_and_the_same_alone(texts: list[str]) -> None:
    found = ENCODER.encode(texts)
    assert found.shape == (len(texts), ENCODER.dimensions)
    assert np.isfinite(found).all()
    for row, text in enumerate(texts):
        np.testing.assert_allclose(found[row], ENCODER.encode([text])[0], atol=1e-5)


def test_they_find_what_the_ratio_finds() -> None:
    heard = [text.replace("e", "i", 1).replace("th", "f").replace("p", "", 1) for text in TEXTS[::15]]
    asked, there = ENCODER.encode(heard), ENCODER.encode(TEXTS)
    nearness = -np.square(asked[:, None] - there[None]).sum(-1)
    ratios = process.cdist(heard, TEXTS, scorer=fuzz.ratio)
    held = [
        len(set(np.argsort(-a)[:10]) & set(np.argsort(-b)[:100])) / 10 for a, b in zip(ratios, nearness, strict=True)
    ]
    assert np.mean(held) > 0.85


@pytest.mark.parametrize("texts", [[], ["stop"]])
def test_a_space_too_small_to_have_directions_is_no_error(texts: list[str]) -> None:
    assert PlacedPairs(texts, dimensions=8).encode(["stop", ""]).shape == (2, 8)


def test_a_vector_is_as_long_as_the_part_of_its_text_that_the_space_knows() -> None:
    known, strange = (np.linalg.norm(ENCODER.encode(texts), axis=1) for texts in (TEXTS[:50], ["zqxj kvwz", "0 0 0 0"]))
    assert known.max() < 1.2  # a random projection keeps lengths nearly
    assert strange.max() < known.min()


@settings(deadline=None)
@given(WRITTEN)
def test_rows_scaled_to_unit_length_have_it_however_often_a_pair_comes(texts: list[str]) -> None:
    rows = unit(placed_pairs([*texts, "aaaaaaaa"])).toarray()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
