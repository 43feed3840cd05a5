"""Adjacent requests of a session: of what kind the second is, and which kinds are evidence that the first failed."""

import numpy as np

from mining.groups import Bools, Ints, packed
from mining.sessions import Sessions
from mining.turns import Turns

KINDS = ("repetition", "correction", "rewording", "exploration", "continuation", "new")
CORRECTIVE = ("correction", "rewording")
"""Kinds that say how a failed request should have been put. A repetition says only that it failed."""

NONE = -1
"""Stands for "no follow-up" among kinds, and for "no row" among rows."""

REWORDED = 0.35
"""Character similarity from which a follow-up to a failed request is one of its wordings."""
MISHEARD = 0.6
"""Character similarity from which it is the same words, heard again."""


def codes(*names: str) -> Ints:
    """Numbers of kinds."""
    return np.array([KINDS.index(name) for name in names], dtype=np.int64)


def kinds(turns: Turns, order: Sessions, failed: Bools, gap_s: float) -> Ints:
    """(N,) number in KINDS of every turn's follow-up; NONE where no turn of the session followed within `gap_s`.

    Whole-term substitution after a turn that worked ("play jazz", "play rock") is exploration, not correction
    (Source: Hassan et al. 2014, Struggling or exploring?).
    """
    at = np.flatnonzero(order.followed & (order.next_gap_s <= gap_s))
    mine, theirs = turns.effective[at], turns.text[at + 1]
    size_mine, size_theirs, common = shared_words(turns, mine, theirs)
    similar, bad = order.similarity[at], failed[at]
    same_skeleton = (np.abs(size_mine - size_theirs) <= 1) & (common >= 1) & (size_mine - common <= 2)
    extends = (common == size_mine) | (common == size_theirs)
    rules = (
        mine == theirs,
        bad & (similar >= MISHEARD),
        bad & ((similar >= REWORDED) | (common * 2 >= size_theirs)),
        ~bad & same_skeleton,
        ~bad & extends,
    )
    found = np.full(len(turns), NONE, dtype=np.int64)
    found[at] = np.select(rules, np.arange(len(rules)), len(rules))
    return found


def shared_words(turns: Turns, left: Ints, right: Ints) -> tuple[Ints, Ints, Ints]:
    """Distinct words of either text and those that both have, of pairs of codes (M,)."""
    if not len(left):
        return left, left, left
    _, row, inverse = np.unique(packed(left, right), return_index=True, return_inverse=True)
    words = {code: frozenset(turns.words_of[code].split(" ")) for code in np.union1d(left, right).tolist()}
    pairs = [(words[a], words[b]) for a, b in zip(left[row].tolist(), right[row].tolist(), strict=True)]
    sizes = np.array([(len(a), len(b), len(a & b)) for a, b in pairs], dtype=np.int64)[inverse]
    return sizes[:, 0], sizes[:, 1], sizes[:, 2]


def resolutions(kind: Ints, failed: Bools, reach: int = 3) -> Ints:
    """(N,) row of the first of the next `reach` turns that worked, where every step to it was a retry.

    NONE where the turn itself worked or nobody found a way.
    """
    retried = failed & np.isin(kind, codes(*CORRECTIVE, "repetition"))
    found, still = np.full(len(kind), NONE, dtype=np.int64), retried.copy()
    row = np.arange(len(kind))
    for step in range(1, reach + 1):
        ahead = np.minimum(row + step, len(kind) - 1)  # a retry has a follow-up, so `still` never looks past the end
        found = np.where((found == NONE) & still & ~failed[ahead], ahead, found)
        still = still & retried[ahead]
    return found
