"""How a request continues its session: it is what was asked before, varies it, takes up something of it, or neither.

What a text leaves out ("play it again", "and in paris") nobody can tell from its words; but users who were not
understood say it in full next, and that shows how such a text is tied to what came before it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isnan, nan
from pathlib import Path

from rewrite.classifier import Classifier
from rewrite.turn import Reading

Said = tuple[str, Reading]
"""A text, normalised, and how it is read."""

AGAIN, VARIED, TAKEN_UP, APART = "again", "varied", "taken up", "apart"
TIES = (APART, TAKEN_UP, VARIED, AGAIN)
"""From the loosest to the closest."""

_IN_WORDS = (
    "apart from what was said before",
    "takes up a detail of what was said before",
    "the intent of what was said before, with other details",
    "what was said before, again",
)


@dataclass(frozen=True)
class Tie:
    """How a request is tied to an earlier one: of which kind, how many requests ago, 1 for the last, and its intent.

    AGAIN: the same text, or intent and slots. VARIED: the same intent, with other slots, or none to go by. TAKEN_UP:
    another intent, with a slot value of it. APART: none of that; then `age` is 0 and `intent` None.
    """

    kind: str = APART
    age: int = 0
    intent: str | None = None

    @property
    def rank(self) -> int:
        """From 0 for APART to 3 for AGAIN."""
        return TIES.index(self.kind)


def tie(request: Said, earlier: Sequence[Said]) -> Tie:
    """The closest tie of a request to those before it, oldest first; of two alike, that to the later one."""
    found = (Tie(_kind(*request, *before), age, before[1].intent) for age, before in enumerate(reversed(earlier), 1))
    return max((tied for tied in found if tied.kind != APART), key=lambda tied: tied.rank, default=Tie())


def _kind(text: str, reading: Reading, text_before: str, before: Reading) -> str:
    if text == text_before or (reading.slots and reading.does(before)):
        return AGAIN
    if reading.intent is not None and reading.intent == before.intent:
        return VARIED
    return APART if values(reading).isdisjoint(values(before)) else TAKEN_UP


def values(reading: Reading) -> frozenset[str]:
    """The slot values of a reading."""
    return frozenset(value for _, value in reading.slots)


def slots_kept(reading: Reading, earlier: Sequence[Said]) -> float:
    """Share of slots in common with the earlier request that has most, 0 to 1; 0 where none has any."""
    unions = ((reading.slots & before.slots, reading.slots | before.slots) for _, before in earlier)
    return max((len(both) / len(either) for both, either in unions if either), default=0.0)


def key_of(kind: str, intent: str | None) -> str:
    """A kind of tie to an intent, as `Ties.followed` names it."""
    return f"{kind} {intent or ''}"


class Ties:
    """What a log tells of ties.

    Attributes:
        model: log P(kind | text) of texts that fail.
        followed: by kind and intent, how often a request tied in this way is tied to that intent, where it was said
            before, in (0, 1): songs are asked for again, the time hardly.
    """

    def __init__(self, model: Classifier, followed: Mapping[str, float]) -> None:
        self.model = model
        self.followed = dict(followed)

    def log_probs(self, text: str) -> dict[str, float]:
        """log P(kind | text) by kind, nats; a kind that the log does not have is left out."""
        return self.model.log_probs(text)

    def follow(self, tied: Tie) -> float:
        """How often what `tied` is tied to is followed so; NaN where it is apart, a half where nobody knows."""
        return nan if tied.kind == APART else self.followed.get(key_of(tied.kind, tied.intent), 0.5)

    def lean(self, text: str) -> bool:
        """Whether what this text means hangs on what came before it, more often than not."""
        return exp(self.log_probs(text).get(APART, -float("inf"))) < 0.5

    def save(self, folder: Path) -> None:
        """Write ties.safetensors, ties.txt and ties.json."""
        self.model.save(folder, "ties")
        (folder / "ties.json").write_text(json.dumps(self.followed, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Ties | None":
        """Read what `save` wrote; None where nothing is there."""
        model = Classifier.load(folder, "ties")
        return None if model is None else cls(model, json.loads((folder / "ties.json").read_text()))


def tied_in_words(features: Mapping[str, float | None]) -> str:
    """How a candidate with these features continues the session, and how likely that is after such a text; empty where
    nobody knows.
    """
    tied, log_prob = (nan if (value := features.get(name)) is None else value for name in ("tie", "tie_log_prob"))
    if isnan(tied):
        return ""
    likely = "" if isnan(log_prob) else f", which it is after such a text with a chance of {exp(log_prob):.2f}"
    return f"{_IN_WORDS[int(tied)]}{likely}"
