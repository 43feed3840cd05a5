"""Users of the demo world: what each likes to ask, how they say it, how patient they are."""

from dataclasses import dataclass, field
from functools import cache

from jobs.world.dice import Dice, Weighted, zipf
from jobs.world.grammar import Request, phrasings, requests_of
from jobs.world.rules import RULES

DEVICES = ("speaker", "phone", "television", "car")
LOCALES = ("en-GB", "en-US", "en-IE")
FOLLOW_UPS = frozenset(
    (
        *("next", "previous", "pause", "resume", "stop", "louder", "quieter", "what_is_playing", "more_like_this"),
        *("add_to_playlist", "time_left", "cancel_timer"),
    )
)
"""Intents that make sense only after something else; they are asked in context, never out of the blue."""

OWN = {"call": 6, "message": 4, "play_playlist": 4, "add_item": 7, "remind": 3}
"""Intents whose requests are a user's own (contacts, playlists, groceries), with how many of them a user has."""

NEW_RELEASE_EVERY = 12
"""Every so many-th request of the catalogue is new: nobody asks for it before the fresh day."""


@dataclass(frozen=True)
class Offer:
    """What can be asked: spoken requests by intent in order of fame, their spoken texts, and what comes out later."""

    by_intent: dict[str, tuple[Request, ...]]
    texts: dict[Request, tuple[str, ...]]
    fame: dict[str, Weighted]
    new: dict[Request, None]


def make_offer(catalogue: dict[str, Request], dice: Dice) -> Offer:
    """Offer of a spoken catalogue. Fame is a seeded order in each intent with Zipf weights."""
    texts: dict[Request, list[str]] = {}
    for text, request in catalogue.items():
        texts.setdefault(request, []).append(text)
    by_intent: dict[str, list[Request]] = {}
    for request in texts:
        by_intent.setdefault(request.intent, []).append(request)
    ordered = {intent: tuple(sorted(rs, key=lambda _: dice.uniform())) for intent, rs in by_intent.items()}
    fame = {intent: Weighted(zipf(len(requests), 0.85)) for intent, requests in ordered.items()}
    # A dict and no set: its order is the same in every process.
    new = {r: None for rs in ordered.values() if len(rs) > 20 for r in rs[5::NEW_RELEASE_EVERY]}
    return Offer(ordered, {request: tuple(found) for request, found in texts.items()}, fame, new)


@cache
def wish_rules() -> tuple[tuple[str, ...], Weighted]:
    """Intents of fresh wishes, and the choice among them."""
    rules = [rule for rule in RULES if rule.intent not in FOLLOW_UPS]
    return tuple(rule.intent for rule in rules), Weighted([rule.share for rule in rules])


@dataclass
class Person:
    """One user: fixed traits, favourites, and the texts they are used to say."""

    user_id: str
    voice: str
    device: str
    locale: str
    sessions_per_day: float
    patience: float
    rewords: float
    misheard_share: float
    types: float
    own: dict[str, tuple[Request, ...]]
    favourites: tuple[Request, ...]
    favourite_weights: Weighted
    habits: dict[Request, str] = field(default_factory=dict)


def make_person(number: int, offer: Offer, voices: tuple[str, ...], dice: Dice) -> Person:
    """A user drawn from the offer. Number is zero-based and makes the pseudonym."""
    own = {intent: _some(offer.by_intent[intent], count, dice) for intent, count in OWN.items()}
    favourites = tuple(dict.fromkeys(_wish(offer, own, dice) for _ in range(18 + int(24 * dice.uniform()))))
    return Person(
        user_id=f"u{number:06d}",
        voice=dice.pick(voices),
        device=DEVICES[Weighted((0.6, 0.2, 0.1, 0.1)).draw(dice)],
        locale=LOCALES[Weighted((0.5, 0.4, 0.1)).draw(dice)],
        sessions_per_day=min(5.0, dice.lognormal(1.35, 0.55)),
        patience=0.55 + 0.35 * dice.uniform(),
        rewords=0.15 + 0.5 * dice.uniform(),
        misheard_share=min(0.75, dice.lognormal(0.175, 0.5)),
        types=0.3 if dice.chance(0.07) else 0.0,
        own=own,
        favourites=favourites,
        favourite_weights=Weighted(zipf(len(favourites), 0.8)),
    )


def _some(requests: tuple[Request, ...], count: int, dice: Dice) -> tuple[Request, ...]:
    return tuple(dict.fromkeys(dice.pick(requests) for _ in range(count)))


def _wish(offer: Offer, own: dict[str, tuple[Request, ...]], dice: Dice) -> Request:
    """A wish in proportion to the rules' shares: the user's own things, or what is famous."""
    intents, choice = wish_rules()
    intent = intents[choice.draw(dice)]
    if intent in own:
        return dice.pick(own[intent])
    return offer.by_intent[intent][offer.fame[intent].draw(dice)]


def wish(person: Person, offer: Offer, dice: Dice, *, fresh: bool) -> Request:
    """What the user wants next: mostly a favourite, sometimes something else; new releases only when they are out."""
    for _ in range(20):
        if fresh and offer.new and dice.chance(0.025):
            return dice.pick(tuple(offer.new))
        if dice.chance(0.78):
            wanted = person.favourites[person.favourite_weights.draw(dice)]
        else:
            wanted = _wish(offer, person.own, dice)
        if fresh or wanted not in offer.new:
            return wanted
    return next(request for request in offer.by_intent["weather"] if request not in offer.new)


def say(person: Person, request: Request, offer: Offer, dice: Dice) -> str:
    """How the user puts a request: in their usual words, at times in others."""
    texts = offer.texts[request]
    usual = person.habits.setdefault(request, dice.pick(texts))
    return usual if dice.chance(0.82) else dice.pick(texts)


def type_something(person: Person, dice: Dice) -> tuple[str, Request]:
    """A typed request from anywhere in the grammar: the long tail that nobody speaks."""
    intents, choice = wish_rules()
    request = dice.pick(requests_of(intents[choice.draw(dice)]))
    return dice.pick(phrasings(request)), request
