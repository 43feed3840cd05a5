"""The simulated assistant: reads any text, misheard ones included, into a domain, an intent and slots.

It is deterministic and forgiving in three steps: the grammar word for word; the grammar's carrier words around names
that are only nearly right (the nearest known name is taken, which can be the wrong one); keywords. What fits nowhere is
not understood. This is also the oracle: what the assistant would do with a text is what `interpret` says.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from rapidfuzz import fuzz, process

from jobs.world.grammar import Request, Slots, make_request, requests_of, slot_names, vocabulary
from jobs.world.rules import RULE_OF, RULES

NEAR_RATIO = 60.0
"""Character ratio, 0-100, from which a name that is not known is taken for the nearest that is."""

_PLAY = re.compile(r"^(?:playing|plays|played|clay|plate|player) ")
_PREFIX = re.compile(r"^(?:please|hey|okay|no i said|no i meant|i said|that's wrong|no)\s+")
_SPELLINGS = (("pm", "p m"), ("am", "a m"), ("favorites", "favourites"), ("st ann's", "saint anne's"))
_SPELLING = {re.compile(rf"\b{re.escape(old)}$|\b{re.escape(old)} "): new for old, new in _SPELLINGS}
_OPTIONAL = {"the", "a", "my", "some", "be"}


@dataclass(frozen=True)
class Reading:
    """What the assistant understood; `intent` None where it did not, `known` False where a name means nothing to it."""

    domain: str | None
    intent: str | None
    slots: Slots
    confidence: float
    known: bool


NOT_UNDERSTOOD = Reading(None, None, (), 0.15, False)


def satisfies(reading: Reading, request: Request) -> bool:
    """Whether doing what was read gives the user what they want: same intent, every wanted slot present."""
    return reading.intent == request.intent and set(request.slots) <= set(reading.slots)


@cache
def interpret(text: str) -> Reading:
    """What the assistant does with a normalised text; cached, as logs repeat themselves."""
    plain = _plain(text)
    return _exact(plain) or _near(plain) or _by_keyword(plain) or NOT_UNDERSTOOD


def _plain(text: str) -> str:
    plain = text.removesuffix(" please")
    while _PREFIX.match(plain):
        plain = _PREFIX.sub("", plain)
    for pattern, new in _SPELLING.items():
        plain = pattern.sub(f"{new} ", plain).strip()
    return _PLAY.sub("play ", plain)


def _exact(text: str) -> Reading | None:
    for intent, slots in _splits(text, _closed_patterns()):
        request = make_request(intent, slots)
        return Reading(request.domain, intent, request.slots, 0.93, _exists(request))
    return None


def _near(text: str) -> Reading | None:
    found = [_resolve(intent, slots) for intent, slots in _splits(text, _open_patterns()) if slots]
    # Ties go to the first rule, as in exact reading; a name nobody knows is only taken where nothing is near.
    return max(found, key=lambda reading: (reading.known, reading.confidence), default=None)


def _resolve(intent: str, slots: dict[str, str]) -> Reading:
    nearest = {slot: _nearest(slot, value) for slot, value in slots.items()}
    request = make_request(intent, {slot: value for slot, (value, _) in nearest.items()})
    ratio = min(ratio for _, ratio in nearest.values())
    known = ratio > 0 and _exists(request)
    confidence = 0.2 + 0.6 * ratio / 100 if known else 0.35
    return Reading(request.domain, intent, request.slots, round(confidence, 4), known)


@cache
def _nearest(slot: str, value: str) -> tuple[str, float]:
    """Nearest known value and its ratio, or the value itself and 0 where none is near."""
    found = process.extractOne(value, vocabulary(slot), scorer=fuzz.ratio, score_cutoff=NEAR_RATIO)
    return (found[0], float(found[1])) if found else (value, 0.0)


def _exists(request: Request) -> bool:
    """A title with the wrong artist does not exist."""
    if request.intent not in ("play_song", "play_album"):
        return True
    return request in _existing(request.intent)


@cache
def _existing(intent: str) -> frozenset[Request]:
    return frozenset(requests_of(intent))


@dataclass(frozen=True)
class _Pattern:
    intent: str
    needed: frozenset[str]
    slots: tuple[str, ...]
    pattern: re.Pattern[str]


def _splits(text: str, patterns: tuple[_Pattern, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every way to see the text as a phrasing with something in its slots, in the order of the rules."""
    words = frozenset(text.split())
    for row in patterns:
        match = row.pattern.fullmatch(text) if row.needed <= words else None
        if match:
            yield row.intent, dict(zip(row.slots, match.groups(), strict=True))


@cache
def _closed_patterns() -> tuple[_Pattern, ...]:
    """Templates whose slots take known values only."""
    return tuple(_compile(intent, template, _closed_group) for intent, template in _templates())


@cache
def _open_patterns() -> tuple[_Pattern, ...]:
    """Templates whose slots take anything: shortest first, then longest first, to split "a by b by c" either way."""
    groups: tuple[Callable[[str], str], ...] = (lambda slot: "(.+?)", lambda slot: "(.+)")
    return tuple(_compile(intent, template, group) for intent, template in _templates() for group in groups)


def _templates() -> Iterator[tuple[str, str]]:
    return ((rule.intent, template) for rule in RULES for template in rule.templates)


@cache
def _closed_group(slot: str) -> str:
    longest_first = sorted(vocabulary(slot), key=len, reverse=True)
    return "(" + "|".join(map(re.escape, longest_first)) + ")"


def _compile(intent: str, template: str, group: Callable[[str], str]) -> _Pattern:
    """Template as a pattern; small words may be missing, because recognisers drop them."""
    words = template.split()
    needed = frozenset(word for word in words if "{" not in word and word not in _OPTIONAL)
    parts = []
    for word in words:
        if word.startswith("{"):
            parts.append(group(word.strip("{}")) + " ")
        else:
            parts.append(f"(?:{re.escape(word)} )?" if word in _OPTIONAL else re.escape(word) + " ")
    parts[-1] = parts[-1].replace(" )?", ")?").removesuffix(" ")
    return _Pattern(intent, needed, slot_names(template), re.compile("".join(parts)))


_KEYWORDS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    # words that must occur, words that exclude, intent, slots to look for (all but weather's are required)
    ("lights on", "", "lights_on", ("room",)),
    ("lights off", "", "lights_off", ("room",)),
    ("timer for", "", "set_timer", ("duration",)),
    ("alarm", "", "set_alarm", ("time",)),
    ("wake", "", "set_alarm", ("time",)),
    ("playlist", "this", "play_playlist", ("playlist",)),
    ("list", "playlist", "add_item", ("item", "list")),
    ("heating", "", "set_heating", ("degrees",)),
    ("volume", "", "set_volume", ("volume",)),
    ("rain", "play", "rain", ("day",)),
    ("weather", "play", "weather", ("place", "day")),
    ("music", "", "play_genre", ("genre",)),
    ("next", "episode", "next", ()),
    ("", "", "play_artist", ("artist",)),
    ("", "", "watch_show", ("show",)),
    ("", "", "read_book", ("book",)),
    ("", "", "play_song", ("song",)),
)


def _by_keyword(text: str) -> Reading | None:
    words = set(text.split())
    for needed, excluded, intent, slots in _KEYWORDS:
        if set(needed.split()) <= words and not (excluded and excluded in words):
            values = {slot: value for slot in slots if (value := _mentioned(slot, text))}
            if len(values) == len(slots) or intent == "weather":
                request = make_request(intent, values)
                return Reading(RULE_OF[intent].domain, intent, request.slots, 0.45, True)
    return None


def _mentioned(slot: str, text: str) -> str | None:
    """Longest known value that occurs in the text as whole words."""
    padded = f" {text} "
    found = [value for value in vocabulary(slot) if f" {value} " in padded]
    return max(found, key=len, default=None)
