"""What a policy would have earned on turns that another one decided: estimators with their errors. Pure arithmetic.

Every estimator returns its value and one influence per turn: the value's first-order dependence on that turn. Sums of
influences per user give the interval, and the difference of two policies' influences that of their gain, so that what
both have in common cancels.

Sources: Horvitz & Thompson, JASA 47 (1952), for IPS; Swaminathan & Joachims, NeurIPS 2015, for SNIPS; Dudík, Langford
& Li, ICML 2011, for DR; Ionides, J. Comput. Graph. Stat. 17 (2008), for clipping.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.clusters import Interval, ratio

ESTIMATORS = ("ips", "snips", "dm", "dr", "clipped ips", "clipped snips", "clipped dr")
CLIP = 10.0
"""Greatest weight of the clipped variants."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Logged:
    """N logged turns; arrays of shape (N,).

    Attributes:
        reward: what the logged action earned, e.g. 1 minus the probability of a defect.
        propensity: probability, in (0, 1], with which the logging policy took the action that it took.
        user_row: int64, which user each turn is of.
    """

    reward: Floats
    propensity: Floats
    user_row: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Raise ValueError where arrays disagree or a propensity is no probability."""
        shapes = {self.reward.shape, self.propensity.shape, self.user_row.shape}
        if len(shapes) != 1:
            raise ValueError(f"logged turns need arrays of one shape; got {sorted(shapes)}; were rows lost?")
        if len(self.propensity) and not (np.nanmin(self.propensity) > 0 and np.nanmax(self.propensity) <= 1):
            raise ValueError(
                f"propensities must be in (0, 1]; got {np.nanmin(self.propensity)} to {np.nanmax(self.propensity)}; "
                "were they logged by the policy that acted?"
            )
        if not (np.isfinite(self.reward).all() and np.isfinite(self.propensity).all()):
            raise ValueError("rewards and propensities must be finite; got NaN or infinity; leave out such turns")


@dataclass(frozen=True)
class Policy:
    """A policy to be evaluated on N logged turns; arrays of shape (N,).

    Attributes:
        target_prob: probability with which it would take the logged action.
        expected: reward that a model expects of its own actions, weighted by their probabilities.
        expected_logged: reward that the model expects of the logged action.
    """

    target_prob: Floats
    expected: Floats
    expected_logged: Floats


@dataclass(frozen=True)
class Estimated:
    """A value, and the influence of every turn on it, shape (N,), which sum to zero."""

    value: float
    influence: Floats

    def interval(self, user_row: NDArray[np.int64], level: float = 0.95) -> Interval:
        """The user-clustered interval."""
        return _interval(self.value, self.influence, user_row, level)


@dataclass(frozen=True)
class Support:
    """How far the log can speak for a policy.

    Attributes:
        effective_sample_size: (sum w)² / sum w², turns; `effective_users` the same of weights summed per user.
        mean_weight: near 1 where the policy's actions are all supported.
        greatest_weight: one turn's.
        supported: share of the policy's actions that the logging policy could have taken, in [0, 1]; of turns where
            there was something to decide.
    """

    effective_sample_size: float
    effective_users: float
    mean_weight: float
    greatest_weight: float
    supported: float


def estimate(logged: Logged, policy: Policy, clip: float = CLIP) -> dict[str, Estimated]:
    """Value of `policy` by every estimator of ESTIMATORS.

    Raises:
        ValueError: there is no turn.
    """
    if not len(logged.reward):
        raise ValueError("nothing to evaluate on; got no logged turn; expected turns with a propensity")
    weight = policy.target_prob / logged.propensity
    found = {"dm": _mean(policy.expected)}
    for name, w in (("", weight), ("clipped ", np.minimum(weight, clip))):
        found[f"{name}ips"] = _mean(w * logged.reward)
        found[f"{name}snips"] = _ratio(w * logged.reward, w)
        found[f"{name}dr"] = _mean(policy.expected + w * (logged.reward - policy.expected_logged))
    return {name: found[name] for name in ESTIMATORS}


def gain(
    one: Mapping[str, Estimated], other: Mapping[str, Estimated], user_row: NDArray[np.int64], level: float = 0.95
) -> dict[str, Interval]:
    """Value of `one` minus value of `other`, both estimated on the same turns, by every estimator."""
    return {
        name: _interval(
            one[name].value - other[name].value, one[name].influence - other[name].influence, user_row, level
        )
        for name in one
    }


def support(logged: Logged, policy: Policy, could: Floats) -> Support:
    """Whether the log has enough of what `policy` does.

    Args:
        could: shape (N,), probability mass of the policy's actions that the logging policy could have taken there; NaN
            where there was nothing to decide.
    """
    weight = policy.target_prob / logged.propensity
    per_user = np.bincount(logged.user_row, weights=weight).astype(np.float64)
    decided = could[~np.isnan(could)]
    supported = float(decided.mean()) if len(decided) else 1.0
    return Support(_effective(weight), _effective(per_user), float(weight.mean()), float(weight.max()), supported)


def _effective(weight: Floats) -> float:
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def _mean(values: Floats) -> Estimated:
    value = float(values.mean())
    return Estimated(value, (values - value) / len(values))


def _ratio(top: Floats, bottom: Floats) -> Estimated:
    """A ratio of sums; NaN where the policy never takes a logged action."""
    total = float(bottom.sum())
    if total == 0:
        return Estimated(np.nan, np.full(len(top), np.nan))
    value = float(top.sum()) / total
    return Estimated(value, (top - value * bottom) / total)


def _interval(value: float, influence: Floats, user_row: NDArray[np.int64], level: float) -> Interval:
    around = ratio(influence * len(influence), np.ones(len(influence)), user_row, level)
    return Interval(value, value + around.low, value + around.high, around.error, around.clusters)
