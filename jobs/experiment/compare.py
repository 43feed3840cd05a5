"""An A/B report: arms' defect rates with user-clustered errors, is the split sound, and who should act. Pure core."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.clusters import Interval, difference, ratio
from jobs.experiment.sequential import best_look

TUNINGS = (0.02, 0.1)
"""Differences of CPDR that one wants to find soon: two points, and a fault's ten."""

MISMATCH_LEVEL = 0.001
"""p-value under which the split of users is called broken. Source: Fabijan et al., KDD 2019."""

LEAST_USERS = 30
HARM_LEVEL = 0.95


@dataclass(frozen=True)
class Arms:
    """N turns of an experiment; arrays of shape (N,).

    Attributes:
        defect: probability that the turn was defective.
        arm: int64, row in `names`. user_row: int64. groups: name to a value per turn, e.g. device and domain.
    """

    names: tuple[str, ...]
    defect: NDArray[np.float64]
    arm: NDArray[np.int64]
    user_row: NDArray[np.int64]
    groups: Mapping[str, Sequence[str | None]]

    def of(self, name: str) -> NDArray[np.bool_]:
        """Which turns are of an arm; none where there is no such arm."""
        of: NDArray[np.bool_] = self.arm == (self.names.index(name) if name in self.names else -1)
        return of


def cpdr(arms: Arms, name: str, within: NDArray[np.bool_] | None = None) -> Interval:
    """An arm's customer-perceived defect rate."""
    rows = arms.of(name) if within is None else arms.of(name) & within
    return ratio(arms.defect[rows], np.ones(int(rows.sum())), arms.user_row[rows])


def against(arms: Arms, treated: str, control: str, within: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """CPDR of `treated` minus that of `control`: fixed-time interval, always-valid interval and p-value.

    `harm` where even the lower end of the always-valid interval is above zero, and both have enough users.
    """
    one, other = cpdr(arms, treated, within), cpdr(arms, control, within)
    gap = difference(one, other)
    now = best_look(gap.value, gap.error, TUNINGS, HARM_LEVEL)
    enough = min(one.clusters, other.clusters) >= LEAST_USERS
    return {
        "treated": plain(one),
        "control": plain(other),
        "change": plain(gap),
        "always_valid": {name: finite(value) for name, value in asdict(now).items()},
        "enough_users": enough,
        "harm": bool(enough and now.low > 0),
    }


def sample_ratio(arms: Arms, expected: Mapping[str, float]) -> dict[str, Any]:
    """Are there as many users in each arm as the split says? Chi-squared test.

    A user in two arms (the ramp moved them) counts in the last one seen.
    """
    from scipy.stats import chisquare

    last = np.full(int(arms.user_row.max(initial=-1)) + 1, -1)
    last[arms.user_row] = arms.arm
    names = [name for name in arms.names if expected.get(name, 0.0) > 0]
    seen = np.array([(last == arms.names.index(name)).sum() for name in names], dtype=float)
    shares = np.array([expected[name] for name in names])
    stray = int((last >= 0).sum() - seen.sum())
    if len(names) < 2 or not seen.sum():
        return {"users": dict(zip(names, seen.tolist(), strict=True)), "p_value": None, "sound": stray == 0}
    p_value = float(chisquare(seen, shares / shares.sum() * seen.sum()).pvalue)
    users = {name: int(n) for name, n in zip(names, seen, strict=True)}
    return {"users": users, "p_value": p_value, "sound": p_value >= MISMATCH_LEVEL and stray == 0}


def by_group(arms: Arms, treated: str, control: str) -> list[dict[str, Any]]:
    """`against` within every value of every group that both arms have enough users of; flags are not for acting on:
    of many groups one is always unlucky.
    """
    found = []
    for name, values in arms.groups.items():
        of = np.array([value or "" for value in values])
        for value in sorted(set(of.tolist()) - {""}):
            result = against(arms, treated, control, of == value)
            if result["enough_users"]:
                found.append({"group": name, "value": value, **result})
    return found


def plain(interval: Interval) -> dict[str, float | int | None]:
    """An interval as JSON has it."""
    return {name: value if name == "clusters" else finite(value) for name, value in asdict(interval).items()}


def finite(value: float) -> float | None:
    """A value as JSON has it, None where it is not finite."""
    return round(float(value), 6) if np.isfinite(value) else None
