"""What mining thinks of every turn of a block: session, signals, probability of a defect, kind of follow-up."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mining import followups
from mining.config import MineConfig
from mining.defects import DefectModel, micros
from mining.groups import Bools, Floats, Ints
from mining.models import Model
from mining.reformulations import resolutions
from mining.sessions import Sessions, sessions
from mining.signals import Scales, signals
from mining.turns import Turns


@dataclass(frozen=True)
class Yardstick:
    """What all blocks are judged by: settings, the holdback's beginning, and what the sample was fitted to."""

    config: MineConfig
    split_us: int | None
    """Microseconds since 1970 of the midnight from which days are held back; None where none are."""
    first_day: int
    """First UTC day of the window, since 1970."""
    days: int
    """Days of the window."""
    scales: Scales
    model: DefectModel
    kinds: Model | None = None
    """The trained model of follow-ups; None where the rules decide."""


@dataclass(frozen=True)
class Judged:
    """A block of turns with what was found of each: arrays (N,)."""

    turns: Turns
    order: Sessions
    signals: dict[str, Ints]
    micros: Ints
    """Probability of a defect, in millionths."""
    kind: Ints
    """Number of the follow-up's kind; -1 where there is no follow-up."""
    resolution: Ints
    """Row of the turn that solved this one's problem; -1 where none did."""
    shares: Floats | None = None
    """(N, classes) what the trained model of follow-ups said; NaN where there is no follow-up."""

    @staticmethod
    def of(turns: Turns, by: Yardstick) -> "Judged":
        """Judge a block of whole users."""
        config = by.config
        order = sessions(turns, config.session_gap_s, config.followup_gap_s, by.split_us)
        found = signals(turns, order, by.scales)
        probability = micros(by.model, found)
        failed = probability >= 500_000
        kind, shares = followups.of_kinds(turns, order, probability, config.pair_gap_s, by.kinds)
        return Judged(turns, order, found, probability, kind, resolutions(kind, failed), shares)

    @cached_property
    def failed(self) -> Bools:
        """(N,) whether the turn is more likely a defect than not."""
        return self.micros >= 500_000

    @cached_property
    def following(self) -> Ints:
        """(N,) row of the next turn; the last row's is itself."""
        return np.minimum(np.arange(len(self.turns)) + 1, len(self.turns) - 1)
