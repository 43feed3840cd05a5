"""Estimators on trial: bandits whose every action's reward is known, logged again and again by a policy of chance.

The value that is estimated is then known too, and so are an estimator's bias and how often its interval holds it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.counterfactual.estimators import ESTIMATORS, Logged, Policy, estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bandit:
    """N turns with A actions each and nothing unknown; arrays of shape (N, A) but `user_row`, (N,).

    Attributes:
        reward: probability of success of each action.
        logging, target: each policy's probabilities; rows sum to 1.
        expected: a reward model's idea of `reward`, right or wrong.
    """

    reward: Floats
    logging: Floats
    target: Floats
    expected: Floats
    user_row: NDArray[np.int64]

    @property
    def truth(self) -> float:
        """The target policy's value."""
        return float((self.target * self.reward).sum(axis=1).mean())


@dataclass(frozen=True)
class Verdict:
    """One estimator over many logs: bias and root mean square error in the reward's unit; share of 95 % intervals that
    hold the truth, and their mean width.
    """

    name: str
    bias: float
    bias_error: float
    rmse: float
    coverage: float
    width: float


def draw(bandit: Bandit, rng: np.random.Generator, users: NDArray[np.int64]) -> tuple[Logged, Policy]:
    """A log of the turns of `users` (rows of users, one for each time that they are drawn): the logging policy acts,
    chance rewards.
    """
    turns, copies = _turns_of(bandit, users)
    cumulative = bandit.logging[turns].cumsum(axis=1)
    action = np.minimum((rng.random((len(turns), 1)) > cumulative).sum(axis=1), bandit.logging.shape[1] - 1)
    reward = (rng.random(len(turns)) < bandit.reward[turns, action]).astype(float)
    logged = Logged(reward, bandit.logging[turns, action], copies)
    expected = (bandit.target[turns] * bandit.expected[turns]).sum(axis=1)
    return logged, Policy(bandit.target[turns, action], expected, bandit.expected[turns, action])


def _turns_of(bandit: Bandit, users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of turns of the drawn users, and which draw each belongs to."""
    order = np.argsort(bandit.user_row, kind="stable")
    starts = np.searchsorted(bandit.user_row[order], users, side="left")
    ends = np.searchsorted(bandit.user_row[order], users, side="right")
    turns = np.concatenate([order[a:b] for a, b in zip(starts, ends, strict=True)])
    return turns, np.repeat(np.arange(len(users)), ends - starts)


def trial(bandit: Bandit, users: int, logs: int, rng: np.random.Generator) -> list[Verdict]:
    """Put every estimator on trial with `logs` logs of `users` users, drawn with replacement."""
    known = np.unique(bandit.user_row)
    values = {name: np.zeros(logs) for name in ESTIMATORS}
    bounds = {name: np.zeros((logs, 2)) for name in ESTIMATORS}
    for row in range(logs):
        logged, policy = draw(bandit, rng, rng.choice(known, users))
        for name, found in estimate(logged, policy).items():
            interval = found.interval(logged.user_row)
            values[name][row], bounds[name][row] = found.value, (interval.low, interval.high)
    return [_verdict(name, values[name], bounds[name], bandit.truth) for name in ESTIMATORS]


def _verdict(name: str, values: Floats, bounds: Floats, truth: float) -> Verdict:
    error = values - truth
    held = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    return Verdict(
        name,
        float(error.mean()),
        float(error.std(ddof=1) / np.sqrt(len(error))),
        float(np.sqrt((error**2).mean())),
        float(held.mean()),
        float((bounds[:, 1] - bounds[:, 0]).mean()),
    )
