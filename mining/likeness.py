"""What a follow-up has in common with the request before it: all that the rules, and the model that ships, look at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from mining.groups import Bools, Floats, Ints, packed
from mining.pair_features import Pair
from mining.sessions import Sessions
from mining.turns import Turns
from rewrite.text import normalise

COLUMNS = ("failed", "similarity", "same", "jaccard", "common_words", "containment")
"""What a model of likeness weighs. How soon the follow-up came is not among them: it differs from log to log."""


@dataclass(frozen=True)
class Likeness:
    """M requests and their follow-ups: arrays (M,)."""

    failed: Floats
    """Probability that the request failed."""
    similarity: Floats
    """Of what was said before and after by characters, in [0, 1]; a rewrite of the former is in the other measures."""
    same: Bools
    """Whether the two texts are equal."""
    size_mine: Ints
    """Distinct words of the request."""
    size_theirs: Ints
    """Distinct words of the follow-up."""
    common: Ints
    """Distinct words that both have."""

    def __len__(self) -> int:
        return len(self.failed)

    def columns(self) -> Floats:
        """(M, columns) in the order of COLUMNS."""
        either = self.size_mine + self.size_theirs - self.common
        smaller = np.minimum(self.size_mine, self.size_theirs)
        return np.stack(
            [
                self.failed,
                self.similarity,
                self.same.astype(np.float64),
                self.common / np.maximum(either, 1),
                self.common.astype(np.float64),
                self.common / np.maximum(smaller, 1),
            ],
            axis=1,
        )


def of_turns(turns: Turns, order: Sessions, micros: Ints, at: Ints) -> Likeness:
    """Of the turns `at`, each of which has a follow-up in its session."""
    mine, theirs = turns.effective[at], turns.text[at + 1]
    return Likeness(micros[at] / 1e6, order.similarity[at], mine == theirs, *shared_words(turns, mine, theirs))


def of_pairs(pairs: Sequence[Pair]) -> Likeness:
    """Of single pairs, as a file of labelled ones has them."""
    said = [(normalise(pair.first).split(" "), normalise(pair.second).split(" ")) for pair in pairs]
    sizes = np.array([(len(set(a)), len(set(b)), len(set(a) & set(b))) for a, b in said], dtype=np.int64).reshape(-1, 3)
    similar = [Levenshtein.normalized_similarity(" ".join(a), " ".join(b)) for a, b in said]
    failed = np.array([1 - pair.executed for pair in pairs], dtype=np.float64)
    same = np.array([a == b for a, b in said], dtype=bool)
    return Likeness(failed, np.array(similar, dtype=np.float64), same, *sizes.T)


def shared_words(turns: Turns, left: Ints, right: Ints) -> tuple[Ints, Ints, Ints]:
    """Distinct words of either text and those that both have, of pairs of codes (M,)."""
    if not len(left):
        return left, left, left
    _, row, inverse = np.unique(packed(left, right), return_index=True, return_inverse=True)
    said = {code: frozenset(turns.words_of[code].split(" ")) for code in np.union1d(left, right).tolist()}
    pairs = [(said[a], said[b]) for a, b in zip(left[row].tolist(), right[row].tolist(), strict=True)]
    sizes = np.array([(len(a), len(b), len(a & b)) for a, b in pairs], dtype=np.int64)[inverse]
    return sizes[:, 0], sizes[:, 1], sizes[:, 2]
