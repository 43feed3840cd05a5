"""One user turn as it looks at decision time: no outcome is known yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reading:
    """What the NLU understood of a text: its hypothesis' domain, intent and slots."""

    domain: str | None = None
    intent: str | None = None
    slots: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, domain: str | None, intent: str | None, slots: Sequence[Any] | None) -> "Reading":
        """Build from log columns; `slots` holds mappings or pairs of name and value, None where the log has none."""
        pairs = (s if isinstance(s, tuple) else (s["name"], s["value"]) for s in (() if slots is None else slots))
        return cls(domain, intent, frozenset((str(name), str(value)) for name, value in pairs))

    def does(self, other: "Reading") -> bool:
        """Whether acting on this reading does exactly what acting on `other` would (False where nothing was
        understood).
        """
        return self.intent is not None and self.intent == other.intent and self.slots == other.slots


@dataclass(frozen=True)
class Turn:
    """The decision-time columns of one logged or live turn, and the session before it.

    `turns` are the session's earlier texts as they were acted on, oldest first; `gap_s` is the time since the last of
    them, seconds, None for a session's first turn. Confidences are in [0, 1], None where the site has none.
    """

    utterance: str
    interaction_id: str | None = None
    user_id: str | None = None
    timestamp_s: float | None = None
    asr_confidence: float | None = None
    asr_nbest: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    nlu_confidence: float | None = None
    device: str | None = None
    locale: str | None = None
    turns: tuple[str, ...] = ()
    gap_s: float | None = None
