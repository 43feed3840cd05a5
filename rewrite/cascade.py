"""Which turns the generator is asked about: those where it may change what the cheap trees would do.

Where no candidate comes near, and where one is as good as sure, its scores change nothing; in between they do.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Zone:
    """The generator is asked where the best candidate's gain by the cheap trees lies in it, both ends included."""

    low: float = -1.0
    high: float = 1.0

    def holds(self, gains: Iterable[float]) -> bool:
        """Whether the best of the candidates is in the zone; without candidates the gain is the least."""
        return self.low <= max(gains, default=-1.0) <= self.high


ALWAYS = Zone()
"""Every gain lies in it."""

NEVER = Zone(1.0, -1.0)
"""No gain lies in it."""


def narrowest(best: np.ndarray, regret: np.ndarray, allowed: float) -> Zone:
    """The zone of fewest turns outside which no more than `allowed` is lost.

    Args:
        best: gain of each turn's best candidate by the cheap trees, shape (N,).
        regret: what each turn loses if the generator is not asked, at least 0, shape (N,).
    """
    levels, level_of = np.unique(best, return_inverse=True)
    lost = np.concatenate([[0.0], np.cumsum(np.bincount(level_of, regret, len(levels)))])
    turns = np.concatenate([[0], np.cumsum(np.bincount(level_of, minlength=len(levels)))])
    starts = np.flatnonzero(lost <= allowed)
    # of what a zone beginning at `starts` leaves to lose, its end must keep out no more than is still allowed
    stops = np.maximum(np.searchsorted(lost, lost[-1] - (allowed - lost[starts])), starts)
    fewest = int(np.argmin(turns[stops] - turns[starts]))
    start, stop = int(starts[fewest]), int(stops[fewest])
    return Zone(float(levels[start]), float(levels[stop - 1])) if stop > start else NEVER
