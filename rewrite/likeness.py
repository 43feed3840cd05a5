"""How alike a query and its candidates are as texts: letters, sounds, words, n-grams, and by how much each leads.

The leads matter most: a candidate that is the nearest of all, and by far, is nearly always right.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from rapidfuzz import fuzz, process
from rapidfuzz.distance import LCSseq, Levenshtein, Postfix, Prefix

from rewrite.ngram_weights import NgramWeights
from rewrite.sounds import phonetic

_LED = (
    "ratio",
    "token_sort_ratio",
    "phonetic_ratio",
    "squeezed_ratio",
    "ngram_cosine",
    "rare_words_kept",
    "rare_words_proposed",
    "query_words_matched",
)
LIKENESS_FEATURES = (
    *_LED,
    *(f"{name}_lead" for name in _LED),
    "token_set_ratio",
    "partial_ratio",
    "common_subsequence",
    "prefix",
    "suffix",
    "proposed_words_matched",
    "worst_query_word",
    "worst_proposed_word",
    "same_first_word",
    "same_last_word",
    "length_difference",
    "words_difference",
    "words_changed",
    "candidate_characters",
)


_OF_TEXT = (
    fuzz.token_set_ratio,
    fuzz.partial_ratio,
    LCSseq.normalized_similarity,
    Prefix.similarity,
    Postfix.similarity,
)


def likeness(
    query: str,
    texts: Sequence[str],
    ngrams: NgramWeights,
    asked_rarity: Sequence[float],
    rarity: Sequence[Sequence[float]],
) -> np.ndarray:
    """LIKENESS_FEATURES of each text.

    Args:
        asked_rarity: weight of each word of the query. rarity: the same for the words of each text.

    Returns:
        float64, shape (N, len(LIKENESS_FEATURES)); leads are NaN where there is one text only.
    """
    if not texts:
        return np.zeros((0, len(LIKENESS_FEATURES)))
    asked, proposed = query.split(), [text.split() for text in texts]
    matched = _word_matches(asked, proposed)
    kept = _kept_shares(asked, asked_rarity, proposed, rarity)
    led = np.stack(
        [
            _scores(query, texts, fuzz.ratio),
            _scores(query, texts, fuzz.token_sort_ratio),
            _scores(phonetic(query), [phonetic(t) for t in texts], fuzz.ratio),
            _scores(query.replace(" ", ""), [t.replace(" ", "") for t in texts], fuzz.ratio),
            ngrams.cosines(query, texts),
            kept[:, 0],
            kept[:, 1],
            matched[:, 0],
        ],
        axis=1,
    )
    leads = np.stack([margins(led[:, column]) for column in range(led.shape[1])], axis=1)
    of_text = np.stack([_scores(query, texts, scorer) for scorer in _OF_TEXT], axis=1)
    of_words = [
        [
            *_word_features(asked, words),
            len(text) - len(query),
            len(words) - len(asked),
            Levenshtein.distance(asked, words),
            len(text),
        ]
        for text, words in zip(texts, proposed, strict=True)
    ]
    return np.hstack([led, leads, of_text, matched[:, 1:], np.array(of_words, dtype=np.float64)])


def margins(values: np.ndarray) -> np.ndarray:
    """How far each is above the best of the others, negative for all but the best; NaN where there is no other."""
    if len(values) < 2:
        return np.full(len(values), math.nan)
    second, first = np.partition(values, -2)[-2:]
    return np.asarray(np.where(values == first, first - second, values - first))


def _scores(query: str, texts: Sequence[str], scorer: Callable[..., float]) -> np.ndarray:
    return np.asarray(process.cdist([query], texts, scorer=scorer, dtype=np.float64)[0])


def _kept_shares(
    asked: Sequence[str],
    asked_rarity: Sequence[float],
    proposed: Sequence[Sequence[str]],
    rarity: Sequence[Sequence[float]],
) -> np.ndarray:
    """Share of the query's words that stand in each text, and of its words that stand in the query, by rarity.

    Returns:
        (N, 2), NaN for a side without words.
    """
    weighted, here, total = list(zip(asked, asked_rarity, strict=True)), set(asked), sum(asked_rarity)
    shares = []
    for words, weights in zip(proposed, rarity, strict=True):
        there, its_total = set(words), sum(weights)
        kept = sum([weight for word, weight in weighted if word in there])
        its_kept = sum([weight for word, weight in zip(words, weights, strict=True) if word in here])
        shares.append((kept / total if total else math.nan, its_kept / its_total if its_total else math.nan))
    return np.array(shares)


def _word_matches(asked: Sequence[str], proposed: Sequence[Sequence[str]]) -> np.ndarray:
    """Ratio (0-100) of each word with its most similar word on the other side.

    Returns:
        (N, 4): mean over the query's words, mean over the text's, least of the query's, least of the text's; NaN for a
        side without words.
    """
    found = np.full((len(proposed), 4), math.nan)
    some = [row for row, words in enumerate(proposed) if words]
    if not asked or not some:
        return found
    place: dict[str, int] = {}
    at = np.array([place.setdefault(word, len(place)) for row in some for word in proposed[row]])
    sizes = np.array([len(proposed[row]) for row in some])
    first = np.cumsum(sizes) - sizes
    table = process.cdist(asked, list(place), scorer=fuzz.ratio, dtype=np.float64)[:, at]
    of_asked, of_proposed = np.maximum.reduceat(table, first, axis=1), table.max(0)
    found[some, 0], found[some, 2] = of_asked.mean(0), of_asked.min(0)
    found[some, 1], found[some, 3] = (
        np.add.reduceat(of_proposed, first) / sizes,
        np.minimum.reduceat(of_proposed, first),
    )
    return found


def _word_features(asked: Sequence[str], proposed: Sequence[str]) -> tuple[float, float]:
    """Same first word, same last word."""
    if not asked or not proposed:
        return (0.0, 0.0)
    return (float(asked[0] == proposed[0]), float(asked[-1] == proposed[-1]))
