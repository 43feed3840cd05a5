"""What turns usually tell besides their text, for the turn that does not.

A service may be asked in front of the NLU, or by a client that passes on the text alone. To trees that never met such a
turn its silence looks like the worst there is: a confidence of nothing, a request that nobody understood.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from rewrite.turn import Reading, Turn

LEAST_TOLD = 0.95
"""Share of a log's turns that tell something for it to be usual; below, the trees have met turns that do not."""

UNTOLD = Reading(None, "?")
"""An intent that no text has: something was understood, nobody said what."""


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


def _usual(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return median(told) if told and len(told) >= LEAST_TOLD * len(values) else None
