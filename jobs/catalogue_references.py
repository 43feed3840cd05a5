"""References that answer from a catalogue: nearest text, spelling correction, dense retrieval, mined look-up.

Each is fitted to a catalogue and to (heard, meant) pairs, as far as it learns from them, and then answers any queries:

    reference = fit("dense retrieval", texts, pairs, seed=0)
    answers = reference.answer(queries)          # Answers: a text or None each, and a confidence

Confidences order one reference's own answers and mean nothing across references: `jobs.operating_point` turns held-back
history into the confidence from which a reference may act.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jobs.references import Answers, nearest
from rewrite.encoder import EncoderConfig, projection
from rewrite.encoder_training import train
from rewrite.index import VectorIndex
from rewrite.noise import ErrorChannel

Pairs = Sequence[tuple[str, str]]
"""(heard, meant), both normalised."""

ENCODER = EncoderConfig(dimensions=128, steps=300)
"""How the bi-encoder is trained: about half a minute of one core."""

EXACT_BELOW = 200_000
"""Texts up to which dense retrieval compares all vectors."""

HEARD_SHARE = 0.5
"""Of the queries drawn in training for a text that pairs tell of."""


class Reference(Protocol):
    """Answers queries with texts of the catalogue it was fitted to."""

    def answer(self, queries: Sequence[str]) -> Answers:
        """A text, or None, for each of N queries, and confidences of shape (N,), 0 where None.

        A query that is itself in the catalogue is left alone. The same query gets the same answer in any batch.
        """
        ...


class NearestText:
    """The text of highest character ratio, which is the confidence (0-100)."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def answer(self, queries: Sequence[str]) -> Answers:
        """The nearest text of each query, however far."""
        return nearest(queries, self._texts, 0.0)


class MinedLookUp:
    """What a query that was heard before mostly meant; the confidence is how many pairs say so."""

    def __init__(self, pairs: Pairs) -> None:
        meant: dict[str, Counter[str]] = {}
        for heard, target in pairs:
            if heard != target:
                meant.setdefault(heard, Counter())[target] += 1
        self._best = {heard: min(counts.items(), key=lambda c: (-c[1], c[0])) for heard, counts in meant.items()}

    def answer(self, queries: Sequence[str]) -> Answers:
        """None for a query that no pair begins with."""
        found = [self._best.get(query) for query in queries]
        return Answers(
            tuple(pair and pair[0] for pair in found), np.array([float(pair[1]) if pair else 0.0 for pair in found])
        )


class SpellingCorrection:
    """SymSpell's compound correction into the catalogue's words, then the nearest text of the catalogue.

    The confidence is the ratio (0-100) of the corrected query with that text.
    Source: Garbe's symmetric delete algorithm as in symspellpy, `lookup_compound`, which also splits and joins words.

    Raises:
        ModuleNotFoundError: the extra `retrieval` is not installed.
    """

    def __init__(self, texts: Sequence[str], edits: int = 2) -> None:
        from symspellpy import SymSpell

        self._texts, self._edits = texts, edits
        self._speller = SymSpell(max_dictionary_edit_distance=edits)
        for word, count in sorted(Counter(word for text in texts for word in text.split()).items()):
            self._speller.create_dictionary_entry(word, count)

    def answer(self, queries: Sequence[str]) -> Answers:
        """Correct, then look for the nearest text; a correction that is in the catalogue is as sure as can be."""
        members = set(self._texts)
        corrected = [query if query in members else self._corrected(query) for query in queries]
        exact = [text in members for text in corrected]
        near = nearest(corrected, self._texts, 0.0)
        found = [c if e else t for c, e, t in zip(corrected, exact, near.rewrites, strict=True)]
        confidence = np.where(exact, 100.0, near.confidence)
        return left_alone(queries, members, found, confidence)

    def _corrected(self, query: str) -> str:
        found = self._speller.lookup_compound(query, max_edit_distance=self._edits) if query else []
        return found[0].term if found else query


class DenseRetrieval:
    """A bi-encoder trained on the pairs and on noise learned from them, and FAISS; the confidence is the cosine.

    Raises:
        ModuleNotFoundError: the extra `retrieval` is not installed.
    """

    def __init__(self, texts: Sequence[str], pairs: Pairs, config: EncoderConfig) -> None:
        self._texts = texts
        self._encoder = train(texts, _Drawer(texts, pairs), config) if len(texts) > 1 else projection(texts, config)
        self._index = VectorIndex(self._encoder, texts, exact_below=EXACT_BELOW)

    def answer(self, queries: Sequence[str]) -> Answers:
        """The text whose vector is nearest, however far; None for a query without a word."""
        if not queries:
            return Answers((), np.zeros(0))
        distances, rows = self._index.search(queries, 1)
        cosines = 1 - distances[:, 0].astype(np.float64) / 2  # of unit vectors
        found = [self._texts[row] if query else None for query, row in zip(queries, rows[:, 0].tolist(), strict=True)]
        return left_alone(queries, set(self._texts), found, cosines)


class _Drawer:
    """Draws queries for the texts of a catalogue: those that were heard, and made-up ones like them."""

    def __init__(self, texts: Sequence[str], pairs: Pairs) -> None:
        self._texts, self._channel = texts, ErrorChannel(pairs)
        self._learned = bool(pairs)
        row_of = {text: row for row, text in enumerate(texts)}
        self._heard: dict[int, list[str]] = {}
        for heard, meant in pairs:
            if meant in row_of:
                self._heard.setdefault(row_of[meant], []).append(heard)

    def __call__(self, row: int, rng: np.random.Generator) -> str:
        heard = self._heard.get(row)
        if heard and rng.random() < HEARD_SHARE:
            return heard[int(rng.integers(len(heard)))]
        return (self._channel.sample if self._learned else self._channel.light)(self._texts[row], rng)


def left_alone(
    queries: Sequence[str], members: set[str], found: Sequence[str | None], confidence: NDArray[np.float64]
) -> Answers:
    """Answers without those to queries that are members themselves."""
    kept = [None if query in members else text for query, text in zip(queries, found, strict=True)]
    return Answers(tuple(kept), np.where([text is None for text in kept], 0.0, confidence).astype(np.float64))


FITTED: Mapping[str, Callable[[Sequence[str], Pairs, int], Reference]] = {
    "nearest text": lambda texts, pairs, seed: NearestText(texts),
    "mined look-up": lambda texts, pairs, seed: MinedLookUp(pairs),
    "SymSpell, then nearest": lambda texts, pairs, seed: SpellingCorrection(texts),
    "dense retrieval": lambda texts, pairs, seed: DenseRetrieval(texts, pairs, replace(ENCODER, seed=seed)),
}
"""How each reference is made of a catalogue, pairs, and a seed."""


def fit(name: str, texts: Sequence[str], pairs: Pairs, seed: int = 0) -> Reference:
    """Fit one of FITTED to a catalogue of distinct texts and to (heard, meant) pairs.

    Raises:
        ValueError: no such reference, or an empty catalogue. ModuleNotFoundError: it needs the extra `retrieval`.
    """
    if name not in FITTED:
        raise ValueError(f"unknown reference {name!r}; expected one of {', '.join(FITTED)}")
    if not texts:
        raise ValueError(f"cannot fit {name!r} to an empty catalogue; are there any texts in force?")
    return FITTED[name](texts, pairs, seed)


def out_of_fold(
    name: str,
    queries: Sequence[str],
    meant: Sequence[str],
    fold: NDArray[np.int64],
    texts: Sequence[str],
    seed: int = 0,
) -> Answers:
    """Answers of N queries by a reference that was fitted, for each fold, to the pairs of the other folds.

    Args:
        fold: of each query, shape (N,); queries of one meant text should share theirs.
    """
    rewrites: list[str | None] = [None] * len(queries)
    confidence = np.zeros(len(queries))
    for number in np.unique(fold):
        pairs = [(q, t) for q, t, f in zip(queries, meant, fold, strict=True) if f != number]
        rows = np.flatnonzero(fold == number)
        answers = fit(name, texts, pairs, seed).answer([queries[row] for row in rows.tolist()])
        confidence[rows] = answers.confidence
        for row, text in zip(rows.tolist(), answers.rewrites, strict=True):
            rewrites[row] = text
    return Answers(tuple(rewrites), confidence)
