"""From held-back history to the confidence at which a reference acts: one protocol for every system."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HARM_ALLOWED = 0.002
"""Good turns rewritten wrong / good turns, on held-back history."""


@dataclass(frozen=True)
class OperatingPoint:
    """Act from confidence `threshold` on (infinite: never); what that did on N held-back turns, all shares in [0, 1].

    `precision` is NaN where nothing was rewritten.
    """

    threshold: float
    trigger_rate: float
    precision: float
    harm: float


def operating_point(
    confidence: NDArray[np.float64],
    rewritten: NDArray[np.bool_],
    right: NDArray[np.bool_],
    fails: NDArray[np.bool_],
    harm_allowed: float = HARM_ALLOWED,
) -> OperatingPoint:
    """The lowest confidence from which on the harm stays within what is allowed; all arrays of shape (N,).

    Args:
        rewritten: where the reference has an answer at all. right: that answer is what the user wanted.
        fails: the turn fails if left alone.

    Raises:
        ValueError: arrays of different lengths, or a share of harm outside [0, 1].
    """
    if len({len(confidence), len(rewritten), len(right), len(fails)}) != 1:
        raise ValueError(
            f"expected one value per turn in each array; got {len(confidence)} confidences, "
            f"{len(rewritten)} rewritten, {len(right)} right, {len(fails)} fails"
        )
    if not 0 <= harm_allowed <= 1:
        raise ValueError(f"expected a share of harm in [0, 1], got {harm_allowed}")
    harms = rewritten & ~right & ~fails
    allowed = math.floor(harm_allowed * np.count_nonzero(~fails) + 1e-9)
    levels = np.unique(confidence[rewritten])
    harmed = np.array([np.count_nonzero(harms & (confidence >= level)) for level in levels])
    kept = levels[harmed <= allowed] if len(levels) else levels
    threshold = float(kept.min()) if len(kept) else math.inf
    acts = rewritten & (confidence >= threshold)
    return OperatingPoint(
        threshold,
        float(acts.mean()) if len(acts) else 0.0,
        float(right[acts].mean()) if acts.any() else math.nan,
        int(np.count_nonzero(harms & acts)) / max(int(np.count_nonzero(~fails)), 1),
    )
