"""Likeness features against slow, obvious counts."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from rewrite.likeness import LIKENESS_FEATURES, likeness, margins
from rewrite.ngram_weights import NgramWeights
from rewrite.ngrams import grams as grams_of_word

CATALOGUE = ["play ancient bridges", "play aliens", "stop the music", "dim the lights in the kitchen"]
TEXTS = st.text("abc ", max_size=12).map(lambda text: " ".join(text.split()))


def column(table: np.ndarray, name: str) -> np.ndarray:
    return table[:, LIKENESS_FEATURES.index(name)]


def like(query: str, texts: list[str]) -> np.ndarray:
    ones = [[1.0] * len(text.split()) for text in texts]
    return likeness(query, texts, NgramWeights.fit(CATALOGUE), [1.0] * len(query.split()), ones)


def grams(text: str) -> Counter[str]:
    return Counter(gram for word in text.split() for gram in grams_of_word(word))


def plain_cosine(query: str, text: str) -> float:
    documents = [set(grams(t)) for t in CATALOGUE]

    def weigh(counts: Counter[str]) -> dict[str, float]:
        idf = {g: math.log((1 + len(documents)) / (1 + sum(g in d for d in documents))) + 1 for g in counts}
        return {g: (1 + math.log(c)) * idf[g] for g, c in counts.items()}

    a, b = weigh(grams(query)), weigh(grams(text))
    norm = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
    return sum(a[g] * b.get(g, 0) for g in a) / norm if norm else 0.0


@given(TEXTS, st.lists(TEXTS, max_size=5))
def test_ngram_cosines_equal_a_plain_count(query: str, texts: list[str]) -> None:
    found = NgramWeights.fit(CATALOGUE).cosines(query, texts)
    assert found == pytest.approx([plain_cosine(query, text) for text in texts], abs=1e-5)


@given(TEXTS, st.lists(TEXTS.filter(bool), min_size=1, max_size=5))
def test_every_text_gets_a_finite_row_whatever_else_is_asked(query: str, texts: list[str]) -> None:
    table = like(query, texts)
    assert table.shape == (len(texts), len(LIKENESS_FEATURES))
    assert column(table, "ratio") == pytest.approx([fuzz.ratio(query, text) for text in texts])
    alone = like(query, texts[:1])
    for name in LIKENESS_FEATURES:
        if not name.endswith("_lead"):
            assert column(alone, name)[0] == pytest.approx(column(table, name)[0], nan_ok=True)


def test_the_nearest_leads_and_the_others_trail() -> None:
    assert margins(np.array([3.0, 9.0, 7.0])).tolist() == [-6.0, 2.0, -2.0]
    assert np.isnan(margins(np.array([3.0]))).all()
    leads = column(like("play alien bridges", CATALOGUE), "ratio_lead")
    assert leads[0] > 0 > leads[1:].max()


def test_a_text_that_sounds_and_reads_the_same_without_its_spaces_scores_full() -> None:
    table = like("playaliens", ["play aliens"])
    assert column(table, "squeezed_ratio")[0] == 100
    assert column(table, "ratio")[0] < 100


def test_no_texts_give_no_rows() -> None:
    assert like("play", []).shape == (0, len(LIKENESS_FEATURES))


def test_saved_weights_are_the_rounded_ones(tmp_path) -> None:  # type: ignore[no-untyped-def]
    weights = NgramWeights.fit(CATALOGUE)
    weights.save(tmp_path)
    assert (NgramWeights.load(tmp_path).idf == weights.rounded.idf).all()
