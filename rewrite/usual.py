"""What turns usually tell besides their text, for the turn that does not.

A service may be asked in front of the NLU, or by a client that passes on the text alone. To trees that never met such a
turn its silence looks like the worst there is: a confidence of nothing, a request that nobody understood. So whether
such a turn fails is asked of trees that learned from turns with the same silence, and what a candidate needs to know of
it is taken as it usually is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from rewrite.features import TURN_FEATURES
from rewrite.turn import Reading, Turn

LEAST_TOLD = 0.95
"""Share of a log's turns that tell something for it to be usual; below, the trees have met turns that do not."""

UNTOLD = Reading(None, "?")
"""An intent that no text has: something was understood, nobody said what."""


_BY_ASR = [TURN_FEATURES.index("asr_confidence")]
_BY_NLU = [
    TURN_FEATURES.index(name)
    for name in ("nlu_confidence", "has_slots", "understood", "nearest_agrees", "intent_defect_rate")
]
"""Columns of TURN_FEATURES that are known by the recogniser and by the NLU alone."""


@dataclass(frozen=True)
class Usual:
    """Medians over a log's turns; None of what they do not usually tell."""

    asr_confidence: float | None = None
    nlu_confidence: float | None = None

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> "Usual":
        """What these turns usually tell."""
        return cls(*(_usual([getattr(turn, name) for turn in turns]) for name in ("asr_confidence", "nlu_confidence")))

    def completed(self, turn: Turn, reading: Reading | None) -> Turn:
        """The turn, with what it does not tell as it usually is.

        Args:
            reading: what its text is usually read as; None where nobody knows.
        """
        if turn.asr_confidence is None:
            turn = replace(turn, asr_confidence=self.asr_confidence)
        if self.nlu_confidence is not None and turn.nlu_confidence is None:
            # a text that was not understood has a confidence, too: without either, the NLU was not asked
            known = reading if reading is not None and reading.intent is not None else UNTOLD
            heard = turn.reading if turn.reading.intent is not None else known
            turn = replace(turn, nlu_confidence=self.nlu_confidence, reading=heard)
        return turn

    def silences(self) -> list[list[int]]:
        """Columns of TURN_FEATURES that go together where a turn leaves out what is usual, one list for each way."""
        told = [columns for value, columns in zip(self._told(), (_BY_ASR, _BY_NLU), strict=True) if value is not None]
        return [*told, [at for columns in told for at in columns]] if len(told) > 1 else told

    def blanked(self, features: Sequence[float], turn: Turn) -> list[float]:
        """TURN_FEATURES of a completed turn without what the turn itself, as it came, did not tell: NaN there."""
        silent = zip(self._told(), (turn.asr_confidence, turn.nlu_confidence), (_BY_ASR, _BY_NLU), strict=True)
        gone = {at for usual, told, columns in silent if usual is not None and told is None for at in columns}
        return [np.nan if at in gone else value for at, value in enumerate(features)]

    def untold(self, features: np.ndarray) -> np.ndarray:
        """Which rows of TURN_FEATURES (N, F) leave out what is usual: bool, shape (N,)."""
        told = zip(self._told(), (_BY_ASR, _BY_NLU), strict=True)
        columns = [columns[0] for usual, columns in told if usual is not None]
        return np.asarray(np.isnan(features[:, columns]).any(axis=1))

    def _told(self) -> tuple[float | None, float | None]:
        return self.asr_confidence, self.nlu_confidence


def _usual(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return median(told) if told and len(told) >= LEAST_TOLD * len(values) else None
