"""Names of features as rows of a hashed table, and a cache of them."""

import zlib
from collections.abc import Callable, Hashable, Sequence

import torch


def grams(word: str, longest: int) -> list[str]:
    """Character n-grams of a framed word, from 2 up to `longest` characters.

    Source: fastText's sub-words (Bojanowski et al. 2017, section 3.2).
    """
    framed = f"<{word}>"
    return [framed[at : at + n] for n in range(2, longest + 1) for at in range(len(framed) - n + 1)]


def hashed(names: Sequence[str], buckets: int) -> list[int]:
    """Rows from 1 on, by CRC-32, so that every run agrees."""
    return [1 + zlib.crc32(name.encode(errors="replace")) % (buckets - 1) for name in names]


class Table:
    """Hashed features of what was met so far, one row each; row 0 has none.

    It changes nothing but speed, and is not saved.

    Attributes:
        rows: (met, width) rows of the hashed table, 0 where there is no feature.
    """

    def __init__(self, width: int) -> None:
        self.row_of: dict[Hashable, int] = {}
        self.rows = torch.zeros((1024, width), dtype=torch.long)

    def row(self, key: Hashable, features: Callable[[], Sequence[int]]) -> int:
        """Row of a key; a new key is added with its features, of which those beyond the width are left out."""
        row = self.row_of.get(key)
        if row is None:
            row = self.row_of[key] = len(self.row_of) + 1
            if row >= len(self.rows):
                self.rows = torch.cat([self.rows, torch.zeros_like(self.rows)])
            found = features()[: self.rows.shape[1]]
            self.rows[row, : len(found)] = torch.tensor(found, dtype=torch.long)
        return row
