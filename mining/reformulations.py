"""Adjacent requests of a session: of what kind the second is, and which kinds are evidence that the first failed."""

import numpy as np

from mining.groups import Bools, Ints
from mining.likeness import Likeness
from mining.sessions import Sessions

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


def followed(order: Sessions, gap_s: float) -> Ints:
    """Rows of the turns whose session went on within `gap_s`: those that have a follow-up."""
    return np.flatnonzero(order.followed & (order.next_gap_s <= gap_s))


def kinds(pairs: Likeness) -> Ints:
    """(M,) number in KINDS of every follow-up, by rules.

    Whole-term substitution after a turn that worked ("play jazz", "play rock") is exploration, not correction
    (Source: Hassan et al. 2014, Struggling or exploring?).
    """
    bad, common = pairs.failed >= 0.5, pairs.common
    same_skeleton = (np.abs(pairs.size_mine - pairs.size_theirs) <= 1) & (common >= 1) & (pairs.size_mine - common <= 2)
    extends = (common == pairs.size_mine) | (common == pairs.size_theirs)
    rules = (
        pairs.same,
        bad & (pairs.similarity >= MISHEARD),
        bad & ((pairs.similarity >= REWORDED) | (common * 2 >= pairs.size_theirs)),
        ~bad & same_skeleton,
        ~bad & extends,
    )
    return np.select(rules, np.arange(len(rules)), len(rules)).astype(np.int64)


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
