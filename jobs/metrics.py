"""What rewriting did to a set of turns, and how sure that is: the metrics of an evaluation, pure arithmetic on arrays.

N turns, U users. Every metric is a ratio of two sums over turns, so that a bootstrap over users only has to weigh sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1_000
"""Bootstrap draws behind every interval."""

METRICS = ("trigger_rate", "precision", "fixed", "harm", "cpdr_before", "cpdr_after", "cpdr_change")


@dataclass(frozen=True)
class Outcomes:
    """What one system did to N turns; boolean arrays of shape (N,).

    `rewritten`: the system proposed another text. `right`: that text does what the user wanted. `defect`: the turn
    fails if left alone. `curable`: a right rewrite would cure it (a request that was understood and still failed
    cannot be cured). `user_row`: int64, position of the turn's user among the U users.
    """

    rewritten: NDArray[np.bool_]
    right: NDArray[np.bool_]
    defect: NDArray[np.bool_]
    curable: NDArray[np.bool_]
    user_row: NDArray[np.int64]

    @property
    def fixed(self) -> NDArray[np.bool_]:
        """Defective turns that the rewrite cures."""
        return self.rewritten & self.right & self.curable

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Good turns rewritten wrong."""
        return self.rewritten & ~self.right & ~self.defect


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; all NaN where nothing was there to count (a precision without rewrites)."""

    value: float
    low: float
    high: float


def measure(outcomes: Outcomes, seed: int = 0, draws: int = DRAWS) -> dict[str, Estimate]:
    """Every metric of METRICS with its user-clustered percentile bootstrap interval.

    The same seed draws the same users for every system measured on the same turns, so that `difference` is paired.
    """
    totals, drawn = _draws(outcomes, seed, draws)
    point, samples = _ratios(totals[None, :]), _ratios(drawn)
    return {name: _estimate(float(point[name][0]), samples[name]) for name in METRICS}


def difference(ours: Outcomes, other: Outcomes, metric: str, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Ours minus the other's `metric` on the same turns, paired: each draw measures both on the same users."""
    our_totals, our_drawn = _draws(ours, seed, draws)
    other_totals, other_drawn = _draws(other, seed, draws)
    point = _ratios(our_totals[None, :])[metric] - _ratios(other_totals[None, :])[metric]
    return _estimate(float(point[0]), _ratios(our_drawn)[metric] - _ratios(other_drawn)[metric])


def curve(outcomes: Outcomes, confidence: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Trigger rate and precision while rewrites are made in order of falling confidence.

    `confidence`: shape (N,), read only where a turn is rewritten. Returns two arrays with one entry per distinct
    confidence, empty without rewrites.
    """
    rows = np.flatnonzero(outcomes.rewritten)
    order = rows[np.argsort(-confidence[rows], kind="stable")]
    # a threshold cannot part rewrites of equal confidence
    last = np.flatnonzero(np.diff(confidence[order], append=-np.inf) != 0) if len(order) else order
    made = np.arange(1, len(order) + 1)
    right = np.cumsum(outcomes.right[order])
    return made[last] / len(outcomes.defect), right[last] / made[last]


@dataclass(frozen=True)
class Reliability:
    """Rewrites in bins of confidence, as many in each: what was said and what came of it.

    `confidence` and `fixed_rate`: mean confidence, and share that cured a defect, shape (B,); `count`: rewrites, (B,).
    """

    confidence: NDArray[np.float64]
    fixed_rate: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of the two, weighted by rewrites; NaN without rewrites."""
        if not self.count.sum():
            return float("nan")
        return float((np.abs(self.confidence - self.fixed_rate) * self.count).sum() / self.count.sum())


def reliability(outcomes: Outcomes, confidence: NDArray[np.float64], bins: int = 10) -> Reliability:
    """How the confidence of rewrites, the probability that they cure a failing turn, compares with what they did.

    Source: Guo et al. 2017, with bins of equal count (adaptive), as rewrites crowd at the sure end.
    """
    rows = np.flatnonzero(outcomes.rewritten)
    order = rows[np.argsort(confidence[rows], kind="stable")]
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return Reliability(
        np.array([confidence[part].mean() for part in parts]),
        np.array([outcomes.fixed[part].mean() for part in parts]),
        np.array([len(part) for part in parts], dtype=np.int64),
    )


_COUNTS = ("turns", "rewritten", "right", "fixed", "broken", "defects")


def _draws(outcomes: Outcomes, seed: int, draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums over all turns, shape (C,), and over each draw of users with replacement, shape (draws, C)."""
    o = outcomes
    flags = np.stack(
        [np.ones_like(o.defect), o.rewritten, o.rewritten & o.right, o.fixed, o.broken, o.defect], axis=1
    ).astype(np.float64)
    users = int(o.user_row.max(initial=-1)) + 1
    per_user = np.zeros((users, len(_COUNTS)))
    np.add.at(per_user, o.user_row, flags)
    if users == 0:
        return np.zeros(len(_COUNTS)), np.zeros((draws, len(_COUNTS)))
    weights = np.random.default_rng(seed).multinomial(users, np.full(users, 1.0 / users), size=draws)
    return per_user.sum(axis=0), weights @ per_user


def _ratios(sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """Metrics of each row of sums, shape (rows,); NaN where the denominator is zero."""
    turns, rewritten, right, fixed, broken, defects = sums.T
    return {
        "trigger_rate": _over(rewritten, turns),
        "precision": _over(right, rewritten),
        "fixed": _over(fixed, defects),
        "harm": _over(broken, turns - defects),
        "cpdr_before": _over(defects, turns),
        "cpdr_after": _over(defects - fixed + broken, turns),
        "cpdr_change": _over(broken - fixed, defects),
    }


def _over(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=result, where=bottom > 0)
    return result


def _estimate(value: float, samples: NDArray[np.float64]) -> Estimate:
    kept = samples[~np.isnan(samples)]
    if np.isnan(value) or not len(kept):
        return Estimate(value, np.nan, np.nan)
    low, high = np.quantile(kept, (0.025, 0.975))
    return Estimate(value, float(low), float(high))
