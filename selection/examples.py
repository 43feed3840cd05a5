"""Utterances with their NLU reading, and where their slots stand among the words."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rewrite.text import MAX_CHARS, normalise

Slot = tuple[str, str]
"""Name and value."""

MAX_WORDS = 64
"""Words of an utterance that the model reads; the rest is ignored."""

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class Utterance:
    """One request and what it means: domain, intent, slots. An empty domain or intent is no label."""

    text: str
    domain: str
    intent: str
    slots: tuple[Slot, ...] = ()


def words(text: str) -> list[str]:
    """The words of a text, normalised; a punctuation mark is a word. No word at all gives one empty word."""
    return _WORD.findall(normalise(text))[:MAX_WORDS] or [""]


def align(text: str, slots: Iterable[Slot]) -> tuple[str, ...] | None:
    """BIO tags of the words of `text`, or None where some slot is not among them.

    Longer values are placed first; equal values take the first free place, in the order given.
    """
    heard = words(text)
    tags = ["O"] * len(heard)
    for name, value in sorted(slots, key=lambda slot: -len(words(slot[1]))):
        place = _free_place(heard, words(value), tags)
        if place is None:
            return None
        length = len(words(value))
        tags[place : place + length] = [f"B-{name}", *[f"I-{name}"] * (length - 1)]
    return tuple(tags)


def _free_place(heard: Sequence[str], value: Sequence[str], tags: Sequence[str]) -> int | None:
    """First place where `value` stands among untagged words."""
    n = len(value)
    for at in range(len(heard) - n + 1):
        if list(heard[at : at + n]) == list(value) and all(tag == "O" for tag in tags[at : at + n]):
            return at
    return None


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name, first word and word after the last of every slot in BIO tags, as seqeval's default (lenient) mode reads
    them: an I without its B begins a slot.
    """
    found: list[tuple[str, int, int]] = []
    begin, name = 0, ""
    for at, tag in enumerate([*tags, "O"]):
        kind, _, this = tag.partition("-")
        if name and (kind != "I" or this != name):
            found.append((name, begin, at))
            name = ""
        if kind == "B" or (kind == "I" and not name):
            begin, name = at, this
    return found


def slots_of(heard: Sequence[str], tags: Sequence[str]) -> tuple[Slot, ...]:
    """Slots that BIO tags mark, their values the words joined by spaces."""
    return tuple((name, " ".join(heard[begin:end])) for name, begin, end in spans(tags))


def check(utterances: Sequence[Utterance], unaligned_share: float = 0.5) -> int:
    """Look training rows over before anything is spent on them.

    Returns:
        How many rows have a slot that is not among their words: they train domain and intent only.

    Raises:
        ValueError: no rows, a row without text, domain or intent, a text too long, or more than `unaligned_share` of
            the rows with slots that do not align.
    """
    if not utterances:
        raise ValueError("nothing to train on: got no rows; expected text, domain, intent, slots; an empty file?")
    for row, utterance in enumerate(utterances):
        _check_row(row, utterance)
    with_slots = [u for u in utterances if u.slots]
    bad = [u for u in with_slots if align(u.text, u.slots) is None]
    if len(bad) > unaligned_share * max(len(with_slots), 1):
        raise ValueError(
            f"slots do not align with their texts in {len(bad)} of {len(with_slots)} rows, e.g. {bad[0].slots[0]!r} in "
            f"{bad[0].text!r}; expected every value to occur in its text; are values of another text column given?"
        )
    return len(bad)


def _check_row(row: int, utterance: Utterance) -> None:
    if not normalise(utterance.text) or len(utterance.text) > MAX_CHARS:
        raise ValueError(
            f"row {row} has a text of {len(utterance.text)} characters; expected 1 to {MAX_CHARS}; a shifted column?"
        )
    if not utterance.domain or not utterance.intent:
        raise ValueError(
            f"row {row} ({utterance.text!r}) has domain {utterance.domain!r} and intent {utterance.intent!r}; "
            "expected both; unlabelled rows do not belong among training rows"
        )
