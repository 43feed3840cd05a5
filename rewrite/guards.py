"""What a rewrite must not change lightly: numbers, negations, whom or how much it is about; and what it must not start.

A guard never looks at scores. It says what a candidate would change, and so what it takes to be acted on.
"""

import math
import re
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from rewrite.numerals import WORDS, said
from rewrite.turn import Reading

REMEMBERED = 50_000
"""Texts whose numbers and negations are kept."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBERS = _words(f"{WORDS} million half quarter")
_POINTING = "this that other another which same next last previous wrong right new old".replace(" ", "|")
_COUNTED = f"{WORDS} am pm o'clock percent".replace(" ", "|")
_THAT_ONE = re.compile(rf"\b(?:{_POINTING}) one\b(?! (?:{_COUNTED})\b)")
"""Where "one" stands for a thing and is no number."""

_OBJECTION = re.compile(r"^(?:no )+(?=(?:i|the|that|this|wait|sorry|actually) )")
"""A "no" to what was done before: "no i said lights off" asks for the lights to be off, unlike "no lights"."""

_NEGATIONS = _words("no not never none without don't doesn't didn't won't can't cannot isn't")


@dataclass(frozen=True)
class Barrier:
    """What it takes to act on a candidate: at least `p_right`, and `gain` above the threshold; `reason` says why.

    A `p_right` of infinity bars it for good.
    """

    reason: str = ""
    p_right: float = 0.0
    gain: float = 0.0


OPEN = Barrier()


@dataclass(frozen=True)
class Guards:
    """The operator's rules.

    Attributes:
        sensitive: words of intents that no turn is rewritten to, unless the NLU read that intent already.
        allowed: intents that are let through all the same, by their full name.
        held_slots: slots whose value is not changed without overwhelming evidence.
        overwhelming: least p_right for changing a number, a negation or a held slot.
        flip_gain: expected gain that a change of intent needs on top of the threshold.
    """

    sensitive: tuple[str, ...] = ("buy", "call", "delete", "lock", "order", "pay", "purchase", "transfer", "unlock")
    allowed: tuple[str, ...] = ()
    held_slots: tuple[str, ...] = ("amount", "contact", "currency", "number", "person", "price", "recipient")
    overwhelming: float = 0.7
    flip_gain: float = 0.02

    def __post_init__(self) -> None:
        for name in ("overwhelming", "flip_gain"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"guard {name} is {value}; expected a number from 0 to 1")

    def barrier(self, query: str, heard: Reading, text: str, proposed: Reading) -> Barrier:
        """What stands between this query, read as `heard`, and acting on `text`, read as `proposed`."""
        same_intent = heard.intent is not None and heard.intent == proposed.intent
        if not same_intent and self._is_sensitive(proposed.intent):
            return Barrier("sensitive", math.inf)
        if changes(query, text, _NEGATIONS):
            return Barrier("negation", self.overwhelming)
        if changes_number(query, text):
            return Barrier("number", self.overwhelming)
        if same_intent and self._changes_held_slot(heard, proposed):
            return Barrier("slot", self.overwhelming)
        flips = heard.intent is not None and proposed.intent is not None and not same_intent
        return Barrier("flip", 0.0, self.flip_gain) if flips else OPEN

    def as_json(self) -> dict[str, Any]:
        """Plain values for a bundle's settings; `Guards(**settings)` with lists as tuples reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> "Guards":
        """Read what `as_json` gave."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
        return cls(**values)

    def _is_sensitive(self, intent: str | None) -> bool:
        if intent is None or intent in self.allowed:
            return False
        return not set(self.sensitive).isdisjoint(_parts(intent))

    def _changes_held_slot(self, heard: Reading, proposed: Reading) -> bool:
        before, after = ({(n, v) for n, v in r.slots if n in self.held_slots} for r in (heard, proposed))
        return bool(before - after)


def changes(query: str, text: str, words: frozenset[str]) -> bool:
    """Whether `text` holds other ones of `words` than `query` does, or another number of them."""
    return _counts(query, words) != _counts(text, words)


def changes_number(query: str, text: str) -> bool:
    """Whether a number that the query says is another one, or missing, in `text`; adding one is no change."""
    said, kept = _numbers(query), _numbers(text)
    return any(count > kept.get(number, 0) for number, count in said.items())


@lru_cache(maxsize=REMEMBERED)
def _parts(intent: str) -> tuple[str, ...]:
    return tuple(re.split(r"[\W_]+", intent.lower()))


# the same texts in force are candidates again and again
@lru_cache(maxsize=REMEMBERED)
def _counts(text: str, words: frozenset[str]) -> dict[str, int]:
    return dict(Counter(word for word in _WORD.findall(_OBJECTION.sub("", text.lower())) if word in words))


@lru_cache(maxsize=REMEMBERED)
def _numbers(text: str) -> dict[str, int]:
    words = _WORD.findall(_THAT_ONE.sub("", said(text.lower())))
    return dict(Counter(w for w in words if w in _NUMBERS or any(c.isdigit() for c in w)))
