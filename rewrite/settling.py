"""What the generator is good for on a log, settled on held-back turns: whether it is asked at all, and for which turns;
whether it searches, whether it scores in both directions, and which candidates.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rewrite.cascade import Zone, narrowest
from rewrite.decision import SPACES, choose
from rewrite.features import FORWARD_COLUMNS
from rewrite.judged import LEAST_GAIN, FittingConfig, Found, Judged
from rewrite.rewriter import Considered, Scorer

REACHES = (0.1, 0.05, 0.02, 0.01, 0.0)
"""Shares of the best candidate's worth that others may need to be rescored."""


def search_pays(
    considered: Sequence[Considered],
    judged: Sequence[Judged],
    p_fail: np.ndarray,
    scorer: Scorer,
    config: FittingConfig,
) -> bool:
    """Whether more than `lost_allowed` of what users wanted is found by the generator's search alone."""
    before, after = 0, 0
    for c, j, p in zip(considered, judged, p_fail, strict=True):
        if scorer.generator is None or not j.fails or j.want is None:
            continue
        searched = replace(c)
        scorer.search(searched, float(p))
        before += any(j.want.met_by(p.text, p.reading) for p in c.proposals)
        after += any(j.want.met_by(p.text, p.reading) for p in searched.proposals)
    return after - before > config.lost_allowed * after


def is_missed(
    having: Found, lacking: Found, judged: Sequence[Judged], p_failed: np.ndarray, config: FittingConfig
) -> bool:
    """Whether more than `lost_allowed` of what is won with something, the generator or one of its directions, is lost
    without.

    Args:
        p_failed: probability that each turn failed, by its signals, shape (turns,).
    """
    return _won(lacking, judged, p_failed) < (1 - config.lost_allowed) * _won(having, judged, p_failed)


def forget_forward(considered: Sequence[Considered]) -> None:
    """As if the forward direction had not been asked."""
    for c in considered:
        c.features = c.features.copy()
        c.features[:, FORWARD_COLUMNS] = np.nan


def _won(found: Found, judged: Sequence[Judged], p_failed: np.ndarray) -> float:
    """Failing turns whose first choice does what was wanted, less the good ones that it would break."""
    gains: dict[str, float] = dict.fromkeys(SPACES, LEAST_GAIN)
    won = 0.0
    for candidates, j, p in zip(found, judged, p_failed, strict=True):
        best = choose([c for c, _ in candidates], gains)
        if best is not None:
            met = next(met for c, met in candidates if c is best)
            won += float(met) if j.fails else -float(not met) * (1.0 - float(p))
    return won


def shares_of_best(worth: np.ndarray) -> np.ndarray:
    """Of the best candidate's worth, which the search's finds have no part in, shape (N,)."""
    return np.asarray(worth / max(worth[np.isfinite(worth)].max(initial=0.0), 1e-300))


def reach_of(asked: Found, worth: Sequence[np.ndarray], config: FittingConfig) -> float:
    """The largest of REACHES beyond which no more than `lost_allowed` of the expected cured defects is lost."""
    gains: dict[str, float] = dict.fromkeys(SPACES, LEAST_GAIN)
    chosen: list[tuple[float, float]] = []
    for found, of in zip(asked, worth, strict=True):
        best = choose([c for c, _ in found], gains)
        if best is not None:
            row = next(row for row, (c, _) in enumerate(found) if c is best)
            chosen.append((float(shares_of_best(of)[row]), best.gain))
    allowed = config.lost_allowed * sum(gain for _, gain in chosen)
    return next(r for r in REACHES if sum(gain for share, gain in chosen if share < r) <= allowed)


def zone_of(asked: Found, unasked: Found, config: FittingConfig) -> Zone:
    """Where the generator is asked: elsewhere no more than `lost_allowed` of the defects cured is lost.

    What is lost is judged by the fuller trees: the gain of their choice less that of the cheap trees' choice.
    """
    gains: dict[str, float] = dict.fromkeys(SPACES, LEAST_GAIN)
    best, gained, regret = [], 0.0, []
    for full, cheap in zip(asked, unasked, strict=True):
        ours, theirs = choose([c for c, _ in full], gains), choose([c for c, _ in cheap], gains)
        gain_of = {c.text: c.gain for c, _ in full}
        gain = 0.0 if ours is None else ours.gain
        gained += gain
        regret.append(max(0.0, gain - (0.0 if theirs is None else gain_of.get(theirs.text, 0.0))))
        best.append(max((c.gain for c, _ in cheap), default=-1.0))
    return narrowest(np.array(best), np.array(regret), config.lost_allowed * gained)
