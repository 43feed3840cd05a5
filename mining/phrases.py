"""What was said and answered, letter by letter and word by word: which of its failures an assistant calls what.

Counts of n-grams under hashed numbers, weighted by rarity and scaled to length one, under a logistic regression.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mining.pair_features import Pair, words

SIZE = 1 << 15
"""Numbers that n-grams are hashed to."""

_REPLY_WORD = re.compile(r"[a-z0-9']+|[?]")


def ngrams(pair: Pair) -> list[str]:
    """Letters (2 to 4) and words (1 and 2) of the first request, words (1 and 2) of the reply that are not its own."""
    said = words(pair.first)
    text = f" {' '.join(said)} "
    found = ["c" + text[i : i + n] for n in (2, 3, 4) for i in range(len(text) - n + 1)]
    found += ["w" + word for word in said] + [
        "b" + " ".join(two) for two in zip(["^", *said], [*said, "$"], strict=True)
    ]
    reply = _REPLY_WORD.findall(pair.response.lower())
    found += ["r" + word for word in reply if word not in said]
    return found + ["s" + " ".join(two) for two in pairwise(reply)]


def counts(pairs: Sequence[Pair]) -> Any:
    """Sparse rows (N, SIZE): 1 + log of how often each n-gram occurs."""
    from scipy.sparse import csr_matrix

    values: list[float] = []
    columns: list[int] = []
    ends = [0]
    for pair in pairs:
        seen = Counter(crc32(ngram.encode()) % SIZE for ngram in ngrams(pair))
        columns += seen.keys()
        values += (1 + math.log(n) for n in seen.values())
        ends.append(len(columns))
    return csr_matrix((values, columns, ends), shape=(len(pairs), SIZE))


@dataclass(frozen=True)
class PhraseModel:
    """P(recognition correction) among corrections, from n-grams."""

    columns: tuple[int, ...]
    """Numbers of the n-grams that the training pairs had."""
    rarity: tuple[float, ...]
    """Inverse document frequency of each, as a logarithm."""
    weights: tuple[float, ...]
    offset: float

    def probabilities(self, rows: Any) -> NDArray[np.float64]:
        """(N,) from `counts`."""
        scaled = _scaled(rows[:, list(self.columns)], np.array(self.rarity))
        result: NDArray[np.float64] = 1 / (1 + np.exp(-(scaled @ np.array(self.weights) + self.offset)))
        return result


def _scaled(rows: Any, rarity: NDArray[np.float64]) -> Any:
    from scipy.sparse import diags

    weighted = rows @ diags(rarity)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return diags(1 / np.maximum(length, 1e-9)) @ weighted


def fit(rows: Any, labels: NDArray[np.int64]) -> PhraseModel:
    """Fit on `counts` of corrections (N, SIZE) and whether each (N,) was of the recogniser: 0 or 1."""
    from sklearn.linear_model import LogisticRegression

    documents = np.asarray((rows > 0).sum(axis=0)).ravel()
    columns = np.flatnonzero(documents)
    rarity = np.log((1 + rows.shape[0]) / (1 + documents[columns])) + 1
    linear = LogisticRegression(C=30.0, max_iter=2000).fit(_scaled(rows[:, columns], rarity), labels)
    rounded = lambda values: tuple(round(float(v), 5) for v in values)  # noqa: E731
    return PhraseModel(
        tuple(map(int, columns)), rounded(rarity), rounded(linear.coef_[0]), round(float(linear.intercept_[0]), 5)
    )
