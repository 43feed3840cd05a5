"""How ordinary words are in English, alone and after one another: what was misheard reads like nobody's sentence.

The trigrams of 72,547 words that come with pocketsphinx (BSD licence). Where that package is missing, nothing is known.
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

UNKNOWN = 18.0
"""Nats of a word that the trigrams do not have: about those of the rarest that they have."""

_NAT = math.log(1.0001)  # pocketsphinx counts probabilities in powers of 1.0001
_NUMBER = "five"  # the trigrams have numbers in words only, and which number it is does not matter here


class English:
    """Probabilities of words; a lookup takes about 1 µs."""

    def __init__(self, trigrams: Any) -> None:
        self._trigrams = trigrams
        self.rarity = lru_cache(1 << 16)(self._rarity)

    def _rarity(self, word: str) -> float:
        """-log P(word) in nats; UNKNOWN at most."""
        return self._nats([_read(word)])

    def surprisals(self, words: Sequence[str]) -> list[float]:
        """-log P in nats of each word after the two before it, and last of ending there: one more than `words`."""
        said = ["<s>", *map(_read, words), "</s>"]
        return [self._nats(said[max(0, at - 2) : at + 1][::-1]) for at in range(1, len(said))]

    def _nats(self, newest_first: list[str]) -> float:
        return min(UNKNOWN, -self._trigrams.prob(newest_first) * _NAT)


def _read(word: str) -> str:
    return _NUMBER if word.isdigit() else word


@cache
def english() -> English | None:
    """The model, loaded once (27 MB, .1 s); None where pocketsphinx is not installed."""
    try:
        import pocketsphinx
    except ImportError:
        return None
    path = Path(pocketsphinx.get_model_path("en-us")) / "en-us.lm.bin"
    return English(pocketsphinx.NGramModel(pocketsphinx.Config(), pocketsphinx.LogMath(), str(path)))
