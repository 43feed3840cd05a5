"""What people say when the session makes the rest plain: "play it again", "something else by them", "and in paris".

The assistant reads every text by itself and understands none of these; what is wanted follows from a request that went
well before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from jobs.world.dice import Dice
from jobs.world.grammar import Request, slot_names, vocabulary
from jobs.world.people import Offer, Person

_LIGHTS = ("lights_on", "lights_off")


@dataclass(frozen=True)
class Ellipsis:
    """One thing left out: after which intents, in which words, and what is wanted.

    Attributes:
        after: intents of the request before.
        texts: ways to say it; `{slot}` stands for the wanted request's value of that slot.
        wanted: every request that may be meant after the one given, of those that this user can ask for in full.
    """

    after: tuple[str, ...]
    texts: tuple[str, ...]
    wanted: Callable[[Request, Person, Offer], list[Request]]


def _same(before: Request, _person: Person, _offer: Offer) -> list[Request]:
    return [before]


def _by_them(before: Request, _person: Person, offer: Offer) -> list[Request]:
    return [wanted for wanted in offer.by_intent["play_artist"] if wanted.value("artist") == before.value("artist")]


def rooms_of(person: Person) -> tuple[str, ...]:
    """The two rooms whose lights a user switches most, or fewer."""
    lights = (favourite.value("room") for favourite in person.favourites if favourite.intent in _LIGHTS)
    return tuple(dict.fromkeys(lights))[:2]


def _other_room(before: Request, person: Person, offer: Offer) -> list[Request]:
    rooms = rooms_of(person)
    if before.value("room") not in rooms:
        return []
    return [wanted for wanted in _but_for("room")(before, person, offer) if wanted.value("room") in rooms]


def _but_for(slot: str) -> Callable[[Request, Person, Offer], list[Request]]:
    """Requests that differ in this slot alone, which both have."""

    def differing(before: Request, _person: Person, offer: Offer) -> list[Request]:
        return [wanted for wanted in offer.by_intent[before.intent] if _differ(before, wanted) == {slot}]

    return differing


def _differ(one: Request, other: Request) -> set[str]:
    """Slots whose values differ; all of them where the two have not the same slots."""
    values, others = dict(one.slots), dict(other.slots)
    if values.keys() != others.keys():
        return values.keys() | others.keys()
    return {name for name in values if values[name] != others[name]}


ELLIPSES = (
    Ellipsis(
        ("play_song", "play_album", "play_playlist", "play_artist"),
        ("play it again", "once more", "i want to hear that again"),
        _same,
    ),
    Ellipsis(
        ("play_song", "play_album"),
        ("play something else by them", "play more by them", "more from this band"),
        _by_them,
    ),
    Ellipsis(_LIGHTS, ("and the other one", "the other one too", "now the other one"), _other_room),
    Ellipsis(_LIGHTS, ("and in the {room}", "the {room} too"), _but_for("room")),
    Ellipsis(("weather", "rain"), ("and in {place}", "what about {place}"), _but_for("place")),
    Ellipsis(("weather", "rain"), ("and {day}", "what about {day}"), _but_for("day")),
)


def leave_out(before: Request, person: Person, offer: Offer, dice: Dice) -> tuple[str, Request] | None:
    """What the user says next, and wants by it, after this request; None where nothing follows from it."""
    able = [
        (kind, found)
        for kind in ELLIPSES
        if before.intent in kind.after and (found := kind.wanted(before, person, offer))
    ]
    if not able:
        return None
    kind, found = dice.pick(able)
    request = dice.pick(found)
    return dice.pick(kind.texts).format(**dict(request.slots)), request


def elliptical_texts() -> Iterator[str]:
    """Every text that leaves something out, distinct."""
    for template in dict.fromkeys(template for kind in ELLIPSES for template in kind.texts):
        slots = slot_names(template)
        for values in product(*(vocabulary(slot) for slot in slots)):
            yield template.format(**dict(zip(slots, values, strict=True)))
