"""Nearest texts of a space, seen from several sides: spelling, shared pieces of words, and sound.

Each view finds texts that the others miss. While a space is small every text is compared with the query; in a large one
those are that an index of vectors finds.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from rewrite import index
from rewrite.ngrams import Lexicon
from rewrite.numerals import said
from rewrite.placed import PlacedPairs
from rewrite.sounds import phonetic

VIEWS = ("ratio", "ngrams", "sound")
TURNS = ("ratio", "ngrams", "ratio", "sound", "ngrams")
"""Whose best text is taken next, round and round. (Spelling without spaces was tried too: it found nothing more.)"""

INDEX_TURNS = ("ratio", "ngrams", "sound")
"""... where an index has chosen the texts, whose vectors stand in the place of n-grams."""

CHUNK = 32
"""Queries whose scores are held at once."""

INDEX_FROM = 50_000
"""Texts from which on an index is built where FAISS is installed: a scan would take over 10 ms."""


def nearest(query: str, texts: Sequence[str], limit: int) -> list[tuple[str, float]]:
    """The `limit` texts of highest `fuzz.ratio` (0-100) with `query`, best first; ties in the order of `texts`.

    Cost is linear in `texts`: about 0.1 ms per thousand.
    """
    return [(text, score) for text, score, _ in process.extract(query, texts, scorer=fuzz.ratio, limit=limit)]


_Scored = tuple[NDArray[np.int64], NDArray[np.float32]]


class Rows(Protocol):
    """N texts, ready for being compared by the pieces they share with a query."""

    def nearness(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Higher is nearer, float32, shape (Q, N)."""
        ...


class EncodedRows:
    """N texts as vectors of an encoder."""

    def __init__(self, encoder: index.TextEncoder, texts: Sequence[str]) -> None:
        self._encoder, self._vectors = encoder, encoder.encode(texts)

    def nearness(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Minus the squared distance, float32, shape (Q, N)."""
        asked, held = self._encoder.encode(queries), self._vectors
        lengths = np.square(asked).sum(1)[:, None] + np.square(held).sum(1)
        return np.asarray(2 * (asked @ held.T) - lengths, dtype=np.float32)


class Scan:
    """N texts compared with every query, in every view. A row that is not `alive` is never near."""

    def __init__(self, texts: Sequence[str], rows: Rows) -> None:
        self._texts, self._rows = list(texts), rows
        self._sounds = [phonetic(text) for text in self._texts]
        self.alive = np.ones(len(self._texts), dtype=bool)

    def scored(self, queries: Sequence[str]) -> list[_Scored]:
        """For each query the rows alive, ascending, and how near they are: float32, shape (len(VIEWS), rows)."""
        rows = np.flatnonzero(self.alive)
        found = self.scores(queries)
        return [(rows, scores if len(rows) == len(self.alive) else scores[:, rows]) for scores in found]

    def scores(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """How near each text is to each query in each of VIEWS, float32, shape (Q, len(VIEWS), N): higher is nearer."""
        sounds = _ratios([phonetic(query) for query in queries], self._sounds)
        return np.stack([_ratios(queries, self._texts), self._rows.nearness(queries), sounds], axis=1)


class Neighbours:
    """Finds the texts of a space that are nearest to a query. Texts added or removed count from the next call on.

    Texts and queries are compared with their numbers in words, whichever way they are written.

    Args:
        texts: the space; doubles count once. Pieces are weighted by how rare they are among these.
        indexed: compare only what an index finds; None: from INDEX_FROM texts on, where FAISS is installed.
        encoder: of the index; default `PlacedPairs`.
        on_gpu: keep the index on a CUDA device.

    Raises:
        ModuleNotFoundError: `indexed`, and FAISS is not installed.
    """

    def __init__(
        self,
        texts: Iterable[str],
        indexed: bool | None = None,
        encoder: index.TextEncoder | None = None,
        on_gpu: bool = False,
    ) -> None:
        self._indexed, self._encoder, self._on_gpu = indexed, encoder, on_gpu
        self._texts = list(dict.fromkeys(texts))
        self._said = [said(text) for text in self._texts]
        self._row_of = {text: row for row, text in enumerate(self._texts)}
        self._gone: set[str] = set()
        self._build()

    def _build(self) -> None:
        wanted = self._indexed
        if wanted is None:
            wanted = len(self._texts) >= INDEX_FROM and index.available()
        self._built = len(self._texts)
        self._fresh: Scan | None = None
        self._first: Scan | index.Indexed
        if wanted:
            self._pieces: index.TextEncoder | Lexicon = self._encoder or PlacedPairs(self._said)
            found = index.VectorIndex(self._pieces, self._said, self._on_gpu)
            self._first = index.Indexed(self._said, found)
        else:
            self._pieces = Lexicon(self._said)
            self._first = self._scan(self._said)

    def _scan(self, texts: Sequence[str]) -> Scan:
        pieces = self._pieces
        return Scan(texts, pieces.rows(texts) if isinstance(pieces, Lexicon) else EncodedRows(pieces, texts))

    def __len__(self) -> int:
        return len(self._texts) - len(self._gone)

    def __contains__(self, text: object) -> bool:
        return text in self._row_of and text not in self._gone

    def index_bytes(self) -> int:
        """Size of the index, bytes; 0 where the space is scanned."""
        return self._first.nbytes() if isinstance(self._first, index.Indexed) else 0

    def add(self, texts: Iterable[str]) -> None:
        """Put texts into force; those that are in force already stay as they are.

        Cost: linear in all texts added so far. N-grams are weighted anew once these outnumber the first ones.
        """
        wanted = list(dict.fromkeys(texts))
        self._gone -= set(wanted)
        unseen = [text for text in wanted if text not in self._row_of]
        if unseen:
            self._row_of |= {text: row for row, text in enumerate(unseen, len(self._texts))}
            self._texts += unseen
            self._said += [said(text) for text in unseen]
            if len(self._texts) > 2 * self._built:
                self._build()
            else:
                self._fresh = self._scan(self._said[self._built :])
        self._mark()

    def remove(self, texts: Iterable[str]) -> None:
        """Take texts out of force; one that is not in force is passed over."""
        self._gone |= {text for text in texts if text in self._row_of}
        self._mark()

    def _mark(self) -> None:
        alive = np.ones(len(self._texts), dtype=bool)
        alive[[self._row_of[text] for text in self._gone]] = False
        self._first.alive = alive[: self._built]
        if self._fresh is not None:
            self._fresh.alive = alive[self._built :]

    def near(self, query: str, limit: int) -> list[tuple[str, float]]:
        """Up to `limit` distinct texts that the views named in turn: (text, `fuzz.ratio` 0-100 as said), highest
        first.

        Ties go to the text that came into the space first. A larger limit only adds texts.

        Raises:
            ValueError: a negative limit.
        """
        return by_ratio(self.named(query, limit))

    def named(self, query: str, limit: int) -> list[tuple[str, float]]:
        """What `near` returns, in the order in which the views named it: what matters most stands first."""
        return self.named_many([query], limit)[0]

    def named_many(self, queries: Sequence[str], limit: int) -> list[list[tuple[str, float]]]:
        """`named` for each query: several at once take about a third of the time each."""
        if limit < 0:
            raise ValueError(f"expected a limit of 0 or more, got {limit}")
        found: list[list[tuple[str, float]]] = []
        turns = INDEX_TURNS if isinstance(self._first, index.Indexed) else TURNS
        for start in range(0, len(queries), CHUNK):
            part = [said(query) for query in queries[start : start + CHUNK]]
            scored = self._first.scored(part)
            if self._fresh is not None:
                scored = [self._joined(*both) for both in zip(scored, self._fresh.scored(part), strict=True)]
            for query, (rows, scores) in zip(part, scored, strict=True):
                taken = rows[take_turns(scores, limit, turns)].tolist()
                found.append([(self._texts[row], fuzz.ratio(query, self._said[row])) for row in taken])
        return found

    def _joined(self, first: _Scored, fresh: _Scored) -> _Scored:
        return np.concatenate([first[0], fresh[0] + self._built]), np.concatenate([first[1], fresh[1]], axis=1)


def by_ratio(named: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Highest ratio first; ties go to what was named first."""
    return sorted(named, key=lambda pair: -pair[1])


def take_turns(scores: NDArray[np.float32], count: int, turns: Sequence[str] = TURNS) -> list[int]:
    """`count` distinct rows of N, the views naming their best in `turns`; `scores` has shape (len(VIEWS), N)."""
    tops = [top_rows(row, count).tolist() for row in scores]
    places = [VIEWS.index(view) for view in turns]
    taken = [0] * len(VIEWS)
    found: dict[int, None] = {}
    while len(found) < min(count, scores.shape[1]):
        for view in places:
            if taken[view] < len(tops[view]):
                found[tops[view][taken[view]]] = None
                taken[view] += 1
    return list(found)[:count]


def top_rows(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Rows of the `count` highest of N scores, best first; ties go to the earlier row."""
    if count <= 0 or not len(scores):
        return np.zeros(0, dtype=np.int64)
    count = min(count, len(scores))
    least = np.partition(scores, -count)[-count]
    rows = np.flatnonzero(scores >= least)
    return rows[np.argsort(-scores[rows], kind="stable")][:count]


def _ratios(queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float32]:
    """`fuzz.ratio`, 0-100, float32, shape (len(queries), len(texts))."""
    return np.asarray(process.cdist(queries, texts, scorer=fuzz.ratio, dtype=np.float32), dtype=np.float32)
