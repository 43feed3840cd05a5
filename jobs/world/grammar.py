"""Requests and the texts that ask for them: the spoken catalogue, and as many more distinct texts as wanted."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from jobs.world import discography, names
from jobs.world.dice import Dice, Weighted
from jobs.world.rules import RULE_OF, RULES, Rule

Slots = tuple[tuple[str, str], ...]
_SLOT = re.compile(r"\{(\w+)\}")
_IMPLIED = {"song": "artist", "album": "artist"}


@dataclass(frozen=True)
class Request:
    """What somebody wants: an intent with its slots, in the order of their names."""

    domain: str
    intent: str
    slots: Slots

    def value(self, name: str) -> str:
        """Value of one slot. Raises KeyError where the request has no such slot."""
        return dict(self.slots)[name]


@cache
def slot_names(template: str) -> tuple[str, ...]:
    """Names of the slots in a template, in the order of speaking."""
    return tuple(_SLOT.findall(template))


@cache
def default_artist(kind: str) -> dict[str, str]:
    """Title -> artist whom the assistant takes when only the title is said; the table's first wins a shared title."""
    pairs = {"song": discography.SONGS, "album": discography.ALBUMS}[kind]
    return dict(reversed(pairs))


@cache
def contacts() -> tuple[str, ...]:
    """Names in people's address books that are spoken: relatives, first names, and some full names."""
    firsts, lasts = names.FIRST_NAMES, names.LAST_NAMES
    full = (f"{first} {lasts[(7 * row) % len(lasts)]}" for row, first in enumerate(firsts))
    return names.RELATIVES + firsts + tuple(full)


@cache
def vocabulary(slot: str) -> tuple[str, ...]:
    """Values that the assistant knows for one slot."""
    lists: dict[str, Sequence[str]] = {
        "artist": discography.ARTISTS,
        "song": tuple(dict(discography.SONGS)),
        "album": tuple(dict(discography.ALBUMS)),
        "playlist": names.PLAYLISTS,
        "genre": names.GENRES,
        "mood": names.MOODS,
        "room": names.ROOMS,
        "colour": names.COLOURS,
        "level": names.LEVELS,
        "volume": names.VOLUMES,
        "degrees": names.DEGREES,
        "duration": names.DURATIONS,
        "time": names.TIMES,
        "timer": names.TIMERS,
        "item": names.ITEMS,
        "list": names.LISTS,
        "task": names.TASKS,
        "place": names.PLACES,
        "day": names.DAYS,
        "book": names.BOOKS,
        "show": names.SHOWS,
        "contact": contacts(),
    }
    return tuple(lists[slot])


def make_request(intent: str, values: dict[str, str]) -> Request:
    """Request with its slots in order of name; a title said without its artist gets the best known one."""
    slots = dict(values)
    for title, artist in _IMPLIED.items():
        if title in slots and artist not in slots and slots[title] in default_artist(title):
            slots[artist] = default_artist(title)[slots[title]]
    return Request(RULE_OF[intent].domain, intent, tuple(sorted(slots.items())))


def phrasings(request: Request) -> tuple[str, ...]:
    """Every text of the grammar that asks for exactly this request, in the rule's order (at least one)."""
    values = dict(request.slots)
    templates = RULE_OF[request.intent].templates
    texts = (t.format(**values) for t in templates if set(slot_names(t)) <= set(values) and _same(t, request, values))
    return tuple(texts)


def _same(template: str, request: Request, values: dict[str, str]) -> bool:
    return make_request(request.intent, {name: values[name] for name in slot_names(template)}) == request


@cache
def requests_of(intent: str) -> tuple[Request, ...]:
    """Every request of one intent over the known vocabulary, distinct, in a stable order."""
    if intent in ("play_song", "play_album"):
        kind = intent.removeprefix("play_")
        pairs = discography.SONGS if kind == "song" else discography.ALBUMS
        return tuple(make_request(intent, {kind: title, "artist": artist}) for title, artist in pairs)
    found: dict[Request, None] = {}
    for template in RULE_OF[intent].templates:
        slots = slot_names(template)
        for values in product(*(vocabulary(slot) for slot in slots)):
            found[make_request(intent, dict(zip(slots, values, strict=True)))] = None
    return tuple(found)


# Requests of an intent that are spoken, and phrasings of each; the rest of the grammar is only ever typed.
_SPOKEN: dict[str, tuple[int, int]] = {
    "play_artist": (70, 3), "play_album": (70, 2), "play_playlist": (37, 2), "play_genre": (24, 2),
    "play_mood": (14, 2), "play_song": (190, 2), "read_book": (24, 3), "watch_show": (22, 3),
    "add_to_playlist": (10, 2),
    "lights_dim": (20, 2), "lights_colour": (14, 2), "set_timer": (48, 2), "set_named_timer": (24, 1),
    "set_alarm": (30, 2), "add_item": (64, 2), "remove_item": (14, 1), "remind": (14, 2), "remind_at": (8, 1),
    "rain": (30, 1), "weather": (56, 2), "call": (80, 2), "message": (30, 1),
}  # fmt: skip


def spoken_catalogue(rng: np.random.Generator) -> dict[str, Request]:
    """The texts that are spoken, with what each asks for: a seeded sample of the grammar, about 1,800 texts."""
    catalogue: dict[str, Request] = {}
    for rule in RULES:
        everything = requests_of(rule.intent)
        requests, ways = _SPOKEN.get(rule.intent, (len(everything), 4))
        rows = np.sort(rng.choice(len(everything), min(requests, len(everything)), replace=False))
        for row in rows:
            texts = phrasings(everything[row])
            picked = np.sort(rng.choice(len(texts), min(ways, len(texts)), replace=False))
            catalogue.update((texts[k], everything[row]) for k in picked)
    return catalogue


def generate(count: int, rng: np.random.Generator) -> list[str]:
    """`count` distinct texts of the open grammar, whose titles, contacts and times go beyond the spoken catalogue.

    Raises:
        ValueError: if the grammar runs out of new texts before `count` (it holds well over two million).
    """
    texts: dict[str, None] = {}
    dice, choice = Dice(rng), Weighted([rule.share for rule in RULES])
    stalled = 0
    while len(texts) < count and stalled < 1000:
        before = len(texts)
        for _ in range(1000):
            texts[_fill(dice.pick(RULES[choice.draw(dice)].templates), dice)] = None
        stalled = stalled + 1 if len(texts) == before else 0
    if len(texts) < count:
        raise ValueError(f"cannot generate {count} distinct texts: the grammar gave {len(texts)}; ask for fewer")
    return list(texts)[:count]


def _fill(template: str, dice: Dice) -> str:
    return template.format(**{slot: _open_value(slot, dice) for slot in slot_names(template)})


def _open_value(slot: str, dice: Dice) -> str:
    """A value of a slot: composed for titles, most artists and contacts, listed for the rest."""
    if slot in ("song", "album", "book"):
        title = f"{dice.pick(names.TITLE_ADJECTIVES)} {dice.pick(names.TITLE_NOUNS)}"
        return f"the {title}" if dice.chance(0.4) else title
    if slot == "contact" or (slot == "artist" and dice.chance(0.6)):
        return f"{dice.pick(names.FIRST_NAMES)} {dice.pick(names.LAST_NAMES)}"
    return dice.pick(vocabulary(slot))


def texts_of(rule: Rule) -> Iterator[tuple[str, Request]]:
    """Every (text, request) of one rule over the known vocabulary. Cost: the product of its vocabularies."""
    for request in requests_of(rule.intent):
        for text in phrasings(request):
            yield text, request
