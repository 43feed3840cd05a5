"""Character n-grams inside words, weighted by tf-idf: which texts share their rarest pieces.

A text is the sum of its words, so every word is cut into n-grams once, and the cosine of a query with all texts takes
two small steps: the words that share the query's n-grams, then the texts that hold those words.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rewrite.trie_build import ragged_range

SHORTEST, LONGEST = 2, 4
CHUNK = 20_000
"""Texts whose n-grams are counted at once."""


@lru_cache(maxsize=20_000)
def grams(word: str) -> tuple[str, ...]:
    """N-grams of a word with a space on both sides, repeated as they occur; a word too short for one stands whole."""
    padded, found = f" {word} ", []
    for n in range(SHORTEST, LONGEST + 1):
        found += [padded[at : at + n] for at in range(max(1, len(padded) - n + 1))]
        if len(padded) <= n:
            break
    return tuple(found)


class Lexicon:
    """The words of a set of texts, their n-grams, and how much each n-gram tells (smoothed inverse document frequency).

    Source: tf-idf as in scikit-learn's `TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))`, to the last digit
    but for rounding; n-grams that no text had are ignored.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._word_rows: dict[str, int] = {}
        self._gram_rows: dict[str, int] = {}
        words = self._counted(texts)
        for word in self._word_rows:
            for gram in grams(word):
                self._gram_rows.setdefault(gram, len(self._gram_rows))
        self.grams = self._cut(self._word_rows)
        document_count = np.zeros(len(self._gram_rows))
        for start in range(0, len(texts), CHUNK):
            document_count += (words[start : start + CHUNK] @ self.grams).getnnz(axis=0)
        self.idf = np.log((1 + len(texts)) / (1 + document_count)) + 1

    def rows(self, texts: Sequence[str]) -> "TextRows":
        """The texts ready for being compared with queries; words that are new here are learned, their n-grams not."""
        known = len(self._word_rows)
        words = self._counted(texts)
        if len(self._word_rows) > known:
            new = self._cut(list(self._word_rows)[known:])
            self.grams = sparse.vstack([self.grams, new], format="csr")
        return TextRows(self, words)

    def weigh(self, query: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the n-grams that the query shares, ascending, and their weights in its unit tf-idf vector."""
        counts = Counter(g for word in query.split() for g in grams(word) if g in self._gram_rows)
        counted = sorted((self._gram_rows[gram], count) for gram, count in counts.items())
        if not counted:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        rows, times = np.array(counted, dtype=np.int64).T
        weights = times * self.idf[rows]
        return rows, (weights / np.sqrt((weights**2).sum())).astype(np.float32)

    def weighted_words(self) -> Any:
        """Tf-idf vectors of the words, not normalised: CSR float32, shape (words, n-grams)."""
        return (self.grams @ sparse.diags(self.idf.astype(np.float32), format="csr")).tocsr()

    def _counted(self, texts: Sequence[str]) -> Any:
        """How often each word stands in each text: CSR, shape (len(texts), words so far). New words get rows."""
        rows = self._word_rows
        listed = [[rows.setdefault(word, len(rows)) for word in text.split()] for text in texts]
        return _matrix(listed, len(rows))

    def _cut(self, words: Iterable[str]) -> Any:
        """Known n-grams of words: CSR, shape (len(words), n-grams)."""
        rows = self._gram_rows
        return _matrix([[rows[g] for g in grams(word) if g in rows] for word in words], len(rows))


class TextRows:
    """N texts as counts of words, with the lengths of their tf-idf vectors."""

    def __init__(self, lexicon: Lexicon, words: Any) -> None:
        self._lexicon, self._words = lexicon, words
        weighted = lexicon.weighted_words()[: words.shape[1]]
        squares = [_squares(words[start : start + CHUNK] @ weighted) for start in range(0, words.shape[0], CHUNK)]
        length = np.sqrt(np.concatenate([np.zeros(0), *squares]))
        self._scale = np.where(length > 0, 1 / np.where(length > 0, length, 1), 0).astype(np.float32)
        self._words_of_gram = weighted.tocsc()

    def nearness(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of each query with each text, float32, shape (Q, N)."""
        found = np.empty((len(queries), len(self._scale)), dtype=np.float32)
        for row, query in enumerate(queries):
            found[row] = (self._words @ self._shared(query)) * self._scale
        return found

    def _shared(self, query: str) -> NDArray[np.float32]:
        """What each word shares with a query, float32, shape (words,): only the query's own n-grams are looked up."""
        grams, weights = self._lexicon.weigh(query)
        of = self._words_of_gram
        first, count = of.indptr[grams].astype(np.int64), np.diff(of.indptr)[grams].astype(np.int64)
        places = ragged_range(first, count)
        shared = np.bincount(of.indices[places], of.data[places] * np.repeat(weights, count), self._words.shape[1])
        return shared.astype(np.float32)


def _squares(vectors: Any) -> NDArray[np.float64]:
    return np.asarray(vectors.multiply(vectors).sum(axis=1), dtype=np.float64).ravel()


def _matrix(listed: Sequence[Sequence[int]], width: int) -> Any:
    """Counts of the numbers in each list: CSR float32, shape (len(listed), width)."""
    starts = np.zeros(len(listed) + 1, dtype=np.int64)
    np.cumsum([len(numbers) for numbers in listed], out=starts[1:])
    columns = np.fromiter((n for numbers in listed for n in numbers), dtype=np.int32, count=int(starts[-1]))
    found = sparse.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, starts), shape=(len(listed), width))
    found.sum_duplicates()
    return found
