"""Cosine of hashed character n-grams between a query and a few candidates, with weights that are kept in a bundle.

`rewrite.ngrams` compares a query with a whole space; here the weights are those that the decision was fitted with.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
from safetensors.numpy import load_file, save_file

from rewrite.ngrams import grams

BUCKETS = 2**17


@lru_cache(maxsize=200_000)
def _buckets(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Distinct n-gram buckets of a text, int64, and 1 + log of their counts, float32, both of shape (N,)."""
    counts = Counter(crc32(gram.encode()) % BUCKETS for word in text.split() for gram in grams(word))
    rows = np.array(sorted(counts), dtype=np.int64)
    return rows, np.array([1 + np.log(counts[row]) for row in rows.tolist()], dtype=np.float32)


class NgramWeights:
    """Inverse document frequency by bucket, float32, shape (BUCKETS,), learned from a catalogue."""

    def __init__(self, idf: np.ndarray) -> None:
        self.idf = idf

    @classmethod
    def fit(cls, texts: Iterable[str]) -> "NgramWeights":
        """Smoothed as if one more text held every n-gram."""
        counts, total = np.zeros(BUCKETS), 0
        for text in texts:
            counts[_buckets(text)[0]] += 1
            total += 1
        return cls((np.log((1 + total) / (1 + counts)) + 1).astype(np.float32))

    def cosines(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """Cosine of the query with each text in [0, 1], float64, shape (N,); 0 for an empty text."""
        if not texts:
            return np.zeros(0)
        asked = np.zeros(BUCKETS, dtype=np.float32)
        buckets, weights = _buckets(query)
        asked[buckets] = weights * self.idf[buckets]
        vectors = [_buckets(text) for text in texts]
        edges = np.cumsum([0, *(len(rows) for rows, _ in vectors)])
        rows = np.concatenate([rows for rows, _ in vectors])
        proposed = np.concatenate([w for _, w in vectors]) * self.idf[rows]
        empty = edges[:-1] == edges[1:]
        dots, squares = (
            np.where(empty, 0.0, np.add.reduceat(np.append(values, 0), edges[:-1]))
            for values in (proposed * asked[rows], proposed * proposed)
        )
        norms = np.sqrt(squares * float(asked @ asked))
        return np.divide(dots, norms, out=np.zeros(len(texts)), where=norms > 0)

    @property
    def rounded(self) -> "NgramWeights":
        """As it is after `save` and `load`: what decisions must be fitted with."""
        return NgramWeights(self.idf.astype(np.float16).astype(np.float32))

    def save(self, folder: Path) -> None:
        """Write ngrams.safetensors (half precision)."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"idf": self.idf.astype(np.float16)}, str(folder / "ngrams.safetensors"))

    @classmethod
    def load(cls, folder: Path) -> "NgramWeights":
        """Read what `save` wrote."""
        return cls(load_file(str(folder / "ngrams.safetensors"))["idf"].astype(np.float32))
