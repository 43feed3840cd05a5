"""Turns of texts that go well when left alone: where a rewrite can only harm, and little else hides the harm.

Over all turns a bundle that breaks what works and cures what fails looks about as good as none, and what fails by
itself differs so much from hour to hour that a difference takes half a day to show. Among the texts that went well on
the days before, hardly anything fails by itself, and what they did when held out is known from all those days.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.clusters import Interval, difference, ratio
from jobs.experiment.compare import HARM_LEVEL, finite, plain
from jobs.experiment.sequential import look

MOST_FAILING = 0.05
"""Share of a text's turns left alone that may have failed on the days before."""

HARM_ALLOWED = 0.01
"""How much more often such turns may fail with a bundle than held out; the gates allow no more."""

TUNING = 0.1
"""Differences that one wants to find soon: a fault breaks every tenth of them at least."""

LEAST_USERS = 20
LEAST_BESIDE = 5
"""Users held out since the bundle came, without whom nobody knows whether it was the bundle."""


@dataclass(frozen=True)
class Watched:
    """N turns in order of time; arrays of shape (N,).

    Attributes:
        defect: probability that the turn was defective.
        day: int64, in which it fell. text_row, user_row: int64.
        held: whether its user was held out. treated: whether the bundle watched decided, and not for a held-out user.
        alone: whether the text was acted on as it was said.
    """

    defect: NDArray[np.float64]
    day: NDArray[np.int64]
    text_row: NDArray[np.int64]
    user_row: NDArray[np.int64]
    held: NDArray[np.bool_]
    treated: NDArray[np.bool_]
    alone: NDArray[np.bool_]


def sure_turns(turns: Watched) -> NDArray[np.bool_]:
    """Which turns are of texts that were left alone on earlier days and went well, but for MOST_FAILING of them.

    Only earlier days count: a text chosen by what it did would look better than it is, and one user's second try
    depends on the first.
    """
    texts = int(turns.text_row.max(initial=-1)) + 1
    count, failed = np.zeros(texts), np.zeros(texts)
    found = np.zeros(len(turns.day), dtype=bool)
    for day in np.unique(turns.day):
        today = turns.day == day
        text = turns.text_row[today]
        found[today] = (count[text] > 0) & (failed[text] <= MOST_FAILING * count[text])
        left = today & turns.alone
        np.add.at(count, turns.text_row[left], 1)
        np.add.at(failed, turns.text_row[left], turns.defect[left] > 0.5)
    return found


def broken(turns: Watched) -> dict[str, Any]:
    """How much oftener the sure turns fail with the bundle than for held-out users, on all days known.

    `harm` where the lower end of the always-valid interval is above HARM_ALLOWED, with enough users in both, unless
    those held out since the bundle came may fail as much: then something else broke, and going back would mend
    nothing. That is a second thought, whose interval does not allow for looking often.
    """
    sure = sure_turns(turns)
    since = np.logical_or.accumulate(turns.treated)
    one, other, beside = (_rate(turns, sure & rows) for rows in (turns.treated, turns.held, turns.held & since))
    gap = difference(one, other)
    now = look(gap.value, gap.error, TUNING, HARM_LEVEL)
    enough = min(one.clusters, other.clusters) >= LEAST_USERS and beside.clusters >= LEAST_BESIDE
    return {
        "treated": plain(one),
        "control": plain(other),
        "beside": plain(beside),
        "change": plain(gap),
        "always_valid": {name: finite(value) for name, value in asdict(now).items()},
        "enough_users": enough,
        "harm": bool(enough and now.low > HARM_ALLOWED and difference(one, beside).low > 0),
    }


def _rate(turns: Watched, rows: NDArray[np.bool_]) -> Interval:
    return ratio(turns.defect[rows], np.ones(int(rows.sum())), turns.user_row[rows])
