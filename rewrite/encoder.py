"""A bi-encoder of hashed pieces: texts that are heard as each other get vectors that point the same way.

A text is the sum of its words and of the seams between them; a word is the sum of its character n-grams, of those of
its sound, and of itself, each a row of one hashed table. So a million texts are encoded by looking up words.
Source: fastText's subword vectors (Bojanowski et al. 2017), trained as a bi-encoder with softmax over the batch and
near neighbours in it (Karpukhin et al. 2020), starting from a random projection of tf-idf.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rewrite.ngrams import grams
from rewrite.sounds import word_code

_SOUND, _SEAM, _WORD = "\x01", "\x02", "\x03"
KEPT = 100_000
"""Tokens whose vectors an encoder keeps; those beyond are summed up anew each time."""


@dataclass(frozen=True)
class EncoderConfig:
    """Shape: `buckets` rows (a power of two) of `dimensions`. Training: `steps` of `groups` × `group` pairs, `seed`."""

    dimensions: int = 256
    buckets: int = 1 << 16
    steps: int = 600
    groups: int = 16
    group: int = 8
    near: int = 24
    temperature: float = 0.06
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.buckets < 1 or self.buckets & (self.buckets - 1):
            raise ValueError(f"expected buckets to be a power of two, got {self.buckets}")
        if min(self.dimensions, self.groups, self.group, self.near) < 1 or self.steps < 0:
            raise ValueError(f"expected positive sizes and no negative number of steps, got {self}")


def tokens(text: str) -> list[str]:
    """Words, and the seams between them: the last and first two characters of neighbours."""
    words = text.split()
    return words + [f"{_SEAM}{a[-2:]} {b[:2]}" for a, b in pairwise(words)]


def pieces(token: str) -> tuple[str, ...]:
    """What a token is made of."""
    if token.startswith(_SEAM):
        return (token,)
    return (*grams(token), *(_SOUND + gram for gram in grams(word_code(token))), _WORD + token)


class Encoder:
    """Maps texts to unit vectors of float32, the same text always to the same.

    Args:
        table: float32, shape (buckets, dimensions), buckets a power of two.
    """

    def __init__(self, table: NDArray[np.float32]) -> None:
        self.table = table
        self._row_of: dict[str, int] = {}
        self._vectors = np.zeros((0, table.shape[1]), dtype=np.float32)

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.table.shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32, shape (N, dimensions); zero for an empty text."""
        listed = [tokens(text) for text in texts]
        self._keep({token for listed_tokens in listed for token in listed_tokens})
        found = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for row, listed_tokens in enumerate(listed):
            known = [self._row_of[token] for token in listed_tokens if token in self._row_of]
            found[row] = self._vectors[known].sum(axis=0)
            if len(known) < len(listed_tokens):
                found[row] += sum(self._sum(token) for token in listed_tokens if token not in self._row_of)
        length = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.where(length > 0, length, 1), dtype=np.float32)

    def _keep(self, wanted: set[str]) -> None:
        """Keep the vectors of tokens not seen before, while there is room."""
        new = sorted(wanted - self._row_of.keys())[: max(KEPT - len(self._row_of), 0)]
        first = len(self._row_of)
        if first + len(new) > len(self._vectors):
            room = np.zeros((max(len(self._vectors), len(new)), self.dimensions), dtype=np.float32)
            self._vectors = np.concatenate([self._vectors, room])
        for row, token in enumerate(new, first):
            self._vectors[row] = self._sum(token)
            self._row_of[token] = row

    def _sum(self, token: str) -> NDArray[np.float32]:
        return np.asarray(self.table[bucket_rows(token, len(self.table))].sum(axis=0), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write the table as safetensors, half precision."""
        from safetensors.numpy import save_file

        save_file({"table": np.ascontiguousarray(self.table, dtype=np.float16)}, path)

    @classmethod
    def load(cls, path: Path) -> "Encoder":
        """Open what `save` wrote. Raises ValueError where the file holds no such table."""
        from safetensors.numpy import load_file

        held = load_file(path)
        table = held.get("table")
        if table is None or table.ndim != 2 or len(table) & (len(table) - 1):
            raise ValueError(f"{path} is no encoder; got tensors {sorted(held)}; expected `table` of 2**n rows")
        return cls(table.astype(np.float32))


@lru_cache(maxsize=50_000)
def _hashed(token: str) -> NDArray[np.int64]:
    return np.array([crc32(piece.encode("utf-8", "surrogatepass")) for piece in pieces(token)], dtype=np.int64)


def bucket_rows(token: str, buckets: int) -> NDArray[np.int64]:
    """Rows of the table that a token is the sum of, int64."""
    return _hashed(token) & (buckets - 1)


def projection(texts: Sequence[str], config: EncoderConfig) -> Encoder:
    """An untrained encoder: a random projection of tf-idf, the rarer a piece among `texts` the more it weighs.

    A text that holds a piece in two words is counted twice for it, which spares looking into every text.
    """
    rng = np.random.default_rng(config.seed)
    table = rng.standard_normal((config.buckets, config.dimensions), dtype=np.float32) / np.sqrt(config.dimensions)
    document_count = Counter(token for text in texts for token in set(tokens(text)))
    counts = np.zeros(config.buckets)
    for token, count in document_count.items():
        counts[np.unique(bucket_rows(token, config.buckets))] += count
    counts = np.minimum(counts, len(texts))
    weight = np.log((1 + len(texts)) / (1 + counts)) + 1
    return Encoder(np.asarray(table * weight[:, None], dtype=np.float32))
