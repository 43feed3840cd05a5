"""How much of what was said is said again: who rewords keeps the words that matter, what was misheard lacks them."""

from collections.abc import Callable, Sequence

from rapidfuzz.distance import JaroWinkler

ALIKE = 0.85
"""Jaro-Winkler similarity from which two words are taken for one: inflected, or spelled otherwise."""


def kept(mine: Sequence[str], theirs: Sequence[str], rarity: Callable[[str], float] | None) -> float:
    """Share of the words of `mine` that `theirs` has as well, 0 to 1; an alike word counts by how alike it is.

    Args:
        mine: words.
        theirs: words.
        rarity: a word weighs its cube, so that "the" hardly counts; None where all weigh alike.
    """
    weights = {word: 1.0 if rarity is None else rarity(word) ** 3 for word in sorted(set(mine))}
    found = sum(weight * _nearest(word, theirs) for word, weight in weights.items())
    return found / sum(weights.values()) if weights else 0.0


def _nearest(word: str, among: Sequence[str]) -> float:
    best = max((JaroWinkler.similarity(word, other) for other in among), default=0.0)
    return best if best > ALIKE else 0.0
