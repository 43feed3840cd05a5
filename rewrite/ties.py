"""How a request continues its session: it is what was asked before, varies it, takes up something of it, or neither.

What a text leaves out ("play it again", "and in paris") nobody can tell from its words; but users who were not
understood say it in full next, and that shows how such a text is tied to what came before it.
"""

from collections.abc import Mapping, Sequence
from math import exp, isnan, nan

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


def tie(request: Said, earlier: Sequence[Said]) -> str:
    """The closest tie of a request to those before it.

    AGAIN: the same text, or intent and slots. VARIED: the same intent, with other slots, or none to go by. TAKEN_UP:
    another intent, with a slot value of theirs. APART: none of that.
    """
    return max((_tie(*request, *before) for before in earlier), key=TIES.index, default=APART)


def _tie(text: str, reading: Reading, text_before: str, before: Reading) -> str:
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


def tied_in_words(features: Mapping[str, float | None]) -> str:
    """How a candidate with these features continues the session, and how likely that is after such a text; empty where
    nobody knows.
    """
    tied, log_prob = (nan if (value := features.get(name)) is None else value for name in ("tie", "tie_log_prob"))
    if isnan(tied):
        return ""
    likely = "" if isnan(log_prob) else f", which it is after such a text with a chance of {exp(log_prob):.2f}"
    return f"{_IN_WORDS[int(tied)]}{likely}"
