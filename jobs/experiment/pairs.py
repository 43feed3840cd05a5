"""Win and loss of every rewrite pair against its holdout, and withdrawing the pairs that harm.

Turns of one pair that were held out show what happens without the rewrite; a pair that fails more often than that,
beyond doubt at any time, is withdrawn.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jobs.clusters import Interval, difference, ratio
from jobs.experiment.sequential import look

TUNING = 0.3
"""Differences of success that one wants to find soon: a pair that harms does so on most of its turns."""

LEAST_USERS = 5
"""Users without whom a pair is judged neither good nor bad: nobody alone can withdraw it."""


@dataclass(frozen=True)
class Shown:
    """One turn for which a rewrite was found, used unless `held`; `defect` is the probability that it was defective."""

    source: str
    target: str
    user_id: str
    held: bool
    defect: float


@dataclass(frozen=True)
class PairResult:
    """What became of one pair; rates are of success, None where there was no turn. `gain` is used minus held out."""

    source: str
    target: str
    wins: int
    losses: int
    users: int
    rate: float | None
    holdout_turns: int
    holdout_rate: float | None
    gain_low: float | None
    gain_high: float | None
    verdict: str


def pair_results(shown: Iterable[Shown], base_rate: float | None = None) -> list[PairResult]:
    """Win and loss per pair, the pair with most turns first.

    Args:
        base_rate: success without a rewrite over all held-out turns with one; stands in for a pair's own holdout while
            that has fewer than LEAST_USERS users. None: such pairs are watched, never withdrawn.
    """
    pairs: dict[tuple[str, str], list[Shown]] = defaultdict(list)
    for one in shown:
        pairs[one.source, one.target].append(one)
    found = [_result(*pair, turns, base_rate) for pair, turns in pairs.items()]
    return sorted(found, key=lambda r: (-(r.wins + r.losses), r.source, r.target))


def base_success(shown: Iterable[Shown]) -> float | None:
    """Success of the held-out turns, over all pairs."""
    held = [1.0 - one.defect for one in shown if one.held]
    return float(np.mean(held)) if held else None


def _result(source: str, target: str, turns: list[Shown], base_rate: float | None) -> PairResult:
    used, held = ([t for t in turns if t.held is flag] for flag in (False, True))
    ours, base = _success(used), _success(held)
    if base.clusters >= LEAST_USERS:
        gap = difference(ours, base)
        value, error = gap.value, gap.error
    elif base_rate is not None:
        value, error = ours.value - base_rate, ours.error
    else:
        value, error = np.nan, np.nan
    # a handful of turns that all went one way has no spread to estimate its error from: allow for half a turn each way
    error = np.hypot(error, 0.5 / max(1, len(used)) ** 0.5 / max(1, ours.clusters) ** 0.5)
    now = look(float(value), float(error), TUNING)
    wins = sum(t.defect < 0.5 for t in used)
    return PairResult(
        source,
        target,
        wins,
        len(used) - wins,
        ours.clusters,
        _finite(ours.value),
        len(held),
        _finite(base.value),
        _share(now.low),
        _share(now.high),
        _verdict(now.low, now.high, ours.clusters),
    )


def _success(turns: list[Shown]) -> Interval:
    users = {user: row for row, user in enumerate(sorted({t.user_id for t in turns}))}
    rows = np.array([users[t.user_id] for t in turns], dtype=np.int64)
    return ratio(np.array([1.0 - t.defect for t in turns]), np.ones(len(turns)), rows)


def _verdict(low: float, high: float, users: int) -> str:
    if users >= LEAST_USERS and high < 0:
        return "withdraw"
    return "keep" if users >= LEAST_USERS and low > 0 else "watch"


def _finite(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None


def _share(value: float) -> float | None:
    """A difference of rates is within [-1, 1], whatever the interval's formula says."""
    return _finite(min(1.0, max(-1.0, value)) if np.isfinite(value) else value)
