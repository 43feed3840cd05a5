"""Simulated users at work: logs of any size with the truth beside them, from one seeded generator.

Each user has sessions; a session is a few wishes; a wish is said, heard, read by the assistant and, if that failed,
said again (in the same words, slower, in other words, with "no i said" before them) or given up, with or without a sign
of annoyance. What succeeded may be followed by something in context (louder, next song), by words that only the session
explains ("play it again"), or by exploring (rock after jazz), which looks like a correction and is none. A few defects
have other causes than misunderstanding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from jobs.world.assistant import Reading, interpret, satisfies
from jobs.world.dice import Dice, Weighted
from jobs.world.ellipsis import leave_out
from jobs.world.grammar import Request, make_request
from jobs.world.hearing import Ear, Heard, Spoken, confidence_tables, recordings
from jobs.world.people import FOLLOW_UPS, Offer, Person, make_offer, make_person, say, type_something, wish
from jobs.world.rules import RULE_OF

START = datetime(2026, 1, 5, tzinfo=UTC)
DAY_S = 86_400.0
_HOUR_WEIGHTS = (1, 1, 0, 0, 0, 1, 4, 8, 8, 6, 5, 5, 6, 5, 5, 5, 6, 9, 11, 11, 9, 7, 4, 2)
_PLAYERS = frozenset(("play_artist", "play_album", "play_genre", "play_mood", "play_song"))


@dataclass(frozen=True)
class Settings:
    """Size and span of a simulation.

    Attributes:
        users: how many users.
        days: length of the log in days.
        fresh_day: day (0-based) from which new releases are asked for and held-back recordings are heard.
        other_defect_rate: share of understood turns that fail for other reasons, in [0, 1].
        ellipsis_rate: share of requests that went well after which the user leaves out what the session makes plain,
            where something can be left out, in [0, 1].
    """

    users: int = 400
    days: int = 28
    fresh_day: int = 21
    other_defect_rate: float = 0.022
    ellipsis_rate: float = 0.0

    def __post_init__(self) -> None:
        rates = (self.other_defect_rate, self.ellipsis_rate)
        if self.users < 1 or self.days < 1 or not all(0 <= rate <= 1 for rate in rates):
            raise ValueError(f"settings need users >= 1, days >= 1 and rates in [0, 1], got {self}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A turn before it is answered, as a rewriting service would see it."""

    user_id: str
    utterance: str
    heard: Heard | None
    asr_confidence: float | None
    reading: Reading
    seconds: float


Service = Callable[[Asked], str | None]
"""Returns the text to act on instead of the utterance, or None to leave the turn alone."""


@dataclass(slots=True)
class Turn:
    """One simulated turn: what is logged and what is true. Times are seconds since the log's start."""

    asked: Asked
    nlu_confidence: float
    request: Request
    intended: str
    device: str
    locale: str
    rewrite: str | None
    read: Reading
    satisfied: bool
    cause: str | None = None
    status: str = "ok"
    interrupted: bool = False
    dwell_s: float | None = None
    reformulates: "Turn | None" = None
    row: int = field(default=-1)

    @property
    def defect(self) -> bool:
        """Whether the user did not get what they wanted."""
        return self.cause is not None


class Simulation:
    """Everything that users share; `turns_of` plays one user."""

    def __init__(
        self,
        catalogue: dict[str, Request],
        spoken: dict[tuple[str, str], Spoken],
        settings: Settings,
        rng: np.random.Generator,
        service: Service | None = None,
    ) -> None:
        self.settings, self._spoken, self._service = settings, spoken, service
        self._wrong, self._right = confidence_tables(rng)
        self.dice = Dice(rng)
        self.offer: Offer = make_offer(catalogue, self.dice)
        self._hours = Weighted(_HOUR_WEIGHTS)
        self.voices = tuple(sorted({voice for _, voice in spoken})) or ("none",)

    def turns(self) -> Iterator[Turn]:
        """All turns, user by user, each user's in order of time."""
        for number in range(self.settings.users):
            person = make_person(number, self.offer, self.voices, self.dice)
            yield from self.turns_of(person)

    def turns_of(self, person: Person) -> Iterator[Turn]:
        """The turns of one user over the whole span."""
        ear = self.ear(person)
        now, turns = 0.0, []
        for start in self.session_starts(person, range(self.settings.days)):
            played, now = self.session(person, ear, max(start, now + 1800.0))
            turns += played
        return (turn for turn in turns if turn.asked.seconds < self.settings.days * DAY_S)

    def ear(self, person: Person) -> Ear:
        """What the recogniser hears of a user, nothing heard yet."""
        return Ear(self._spoken, person.voice, person.misheard_share, self.dice)

    def session(self, person: Person, ear: Ear, start_s: float) -> tuple[list[Turn], float]:
        """Play one session; its turns, and when it ended."""
        session = _Session(self, person, ear, start_s)
        session.play()
        return session.turns, session.now

    def session_starts(self, person: Person, days: range) -> list[float]:
        """When the user begins a session on these days, sorted."""
        starts = []
        for day in days:
            expected = person.sessions_per_day
            count = int(expected) + self.dice.chance(expected - int(expected))
            for _ in range(count):
                hour = self._hours.draw(self.dice) + self.dice.uniform()
                starts.append(day * DAY_S + hour * 3600.0)
        return sorted(starts)

    def confidence(self, right: bool) -> float:
        """The recogniser's confidence in what it heard."""
        return self.dice.pick(self._right if right else self._wrong)

    def rewritten(self, asked: Asked) -> str | None:
        """What the service under test wants instead of this utterance."""
        return self._service(asked) if self._service else None


class _Session:
    """A few wishes of one user in a row."""

    def __init__(self, world: Simulation, person: Person, ear: Ear, start_s: float) -> None:
        self.world, self.person, self.ear, self.now = world, person, ear, start_s
        self.dice = world.dice
        self.turns: list[Turn] = []
        self.fresh = start_s >= world.settings.fresh_day * DAY_S

    def play(self) -> None:
        """Play the session to its end."""
        wishes = 1 + int(self.dice.exponential(1.6))
        for _ in range(wishes):
            if self.dice.chance(self.person.types):
                text, request = type_something(self.person, self.dice)
                done = self._ask(text, request, typed=True)
                self._finish(done, self.dice.lognormal(150.0, 0.8))
            else:
                self._pursue(wish(self.person, self.world.offer, self.dice, fresh=self.fresh))

    def _pursue(self, request: Request, text: str | None = None) -> None:
        """Ask for something, first in these words, until it works or patience ends, then for what follows from it."""
        done = self._insist(request, text)
        if done.satisfied and not done.defect:
            self._follow(done, request)
        else:
            self._finish(done, self.dice.lognormal(120.0, 0.9))

    def _insist(self, request: Request, text: str | None) -> Turn:
        text = text or say(self.person, request, self.world.offer, self.dice)
        turn = self._ask(text, request)
        attempt = 1
        while turn.defect and attempt < 5 and self.dice.chance(self.person.patience * 0.88 ** (attempt - 1)):
            self._finish(turn, self._retry_gap_s(turn))
            text, slow, prefix = self._again(text, request, turn)
            turn = self._ask(text, request, slow=slow, prefix=prefix, after=turn)
            attempt += 1
        return turn

    def _again(self, text: str, request: Request, turn: Turn) -> tuple[str, bool, str]:
        """Next attempt: (text, slower?, words before it)."""
        texts = self.world.offer.texts[request]
        if text not in texts and self.dice.chance(0.85):
            return say(self.person, request, self.world.offer, self.dice), self.dice.chance(0.4), ""
        others = [other for other in texts if other != text]
        if others and turn.cause == "misunderstood" and self.dice.chance(self.person.rewords):
            return self.dice.pick(others), self.dice.chance(0.4), ""
        prefix = self.dice.pick(("no i said ", "no ", "i said ")) if self.dice.chance(0.1) else ""
        return text, self.dice.chance(0.65), prefix

    def _retry_gap_s(self, turn: Turn) -> float:
        listened = 6.0 if turn.status == "ok" else 3.0
        return listened + self.dice.lognormal(11.0, 0.5)

    def _ask(
        self, text: str, request: Request, *, slow: bool = False, prefix: str = "", typed: bool = False,
        after: Turn | None = None,
    ) -> Turn:  # fmt: skip
        """One turn: hear, read, act, judge."""
        asked = self._hear(text, slow=slow, prefix=prefix, typed=typed)
        rewrite = self.world.rewritten(asked)
        read = asked.reading if rewrite is None else interpret(rewrite)
        nlu = min(0.99, max(0.01, read.confidence + 0.11 * self.dice.normal()))
        device = "phone" if typed else self.person.device
        turn = Turn(asked, nlu, request, text, device, self.person.locale, rewrite, read, satisfies(read, request))
        turn.reformulates = after
        self._answer(turn)
        self.turns.append(turn)
        return turn

    def _hear(self, text: str, *, slow: bool, prefix: str, typed: bool) -> Asked:
        if typed:
            return Asked(self.person.user_id, text, None, None, interpret(text), self.now)
        heard = self.ear.hear(text, fresh=self.fresh, slow=slow)
        confidence = self.world.confidence(heard.text == text)
        if prefix:
            heard = Heard(prefix + heard.text, tuple(prefix + guess for guess in heard.nbest))
        return Asked(self.person.user_id, heard.text, heard, confidence, interpret(heard.text), self.now)

    def _answer(self, turn: Turn) -> None:
        """Set status, cause and interruption of a turn."""
        if turn.read.intent is None:
            turn.status = "no_match"
        elif not turn.read.known:
            turn.status = "error"
        if not turn.satisfied:
            turn.cause = "misunderstood"
        elif self.dice.chance(self.world.settings.other_defect_rate):
            turn.cause = "other"
            turn.status = "error" if self.dice.chance(0.45) else turn.status
        annoyed = turn.defect and turn.status == "ok"
        turn.interrupted = self.dice.chance(0.4 if annoyed else 0.04 if turn.defect else 0.015)

    def _finish(self, turn: Turn, gap_s: float) -> None:
        """Let `gap_s` pass after a turn; what it plays is used for at most that long."""
        mean_s = RULE_OF[turn.read.intent].dwell_mean_s if turn.read.intent else 0.0
        if mean_s and turn.status == "ok":
            # One in eight wrong results is put up with: dissatisfaction that no signal shows.
            endured = turn.defect and not turn.interrupted and self.dice.chance(0.12)
            mean_s = 7.0 if turn.defect and not endured else mean_s
            turn.dwell_s = round(min(self.dice.exponential(mean_s), gap_s), 1)
        self.now += gap_s
        if turn.defect and turn.status == "ok" and gap_s > 60 and self.dice.chance(0.12):
            self._stop(turn, gap_s)

    def _stop(self, turn: Turn, gap_s: float) -> None:
        """The user stops what was wrong, a few seconds into it."""
        end = self.now
        self.now = end - gap_s + 4.0 + self.dice.exponential(5.0)
        turn.dwell_s = None if turn.dwell_s is None else min(turn.dwell_s, round(self.now - end + gap_s, 1))
        stop = self._ask(self.dice.pick(("stop", "cancel")), make_request("stop", {}))
        stop.interrupted = False
        self.now = end

    def _follow(self, turn: Turn, request: Request) -> None:
        """After a success: leave something out, explore, ask for something in context, or move on."""
        rate = self.world.settings.ellipsis_rate
        # at rate 0 nothing is drawn: such worlds stay the same, draw for draw
        if rate and self.dice.chance(rate):
            elliptical = leave_out(request, self.person, self.world.offer, self.dice)
            if elliptical is not None:
                self._aside(turn, request)
                self._pursue(elliptical[1], elliptical[0])
                return
        explores = request.intent in ("play_genre", "play_artist", "play_mood", "play_song")
        if explores and self.dice.chance(0.12):
            self._finish(turn, 12.0 + self.dice.lognormal(25.0, 0.7))
            self._pursue(self._another(request))
        elif request.intent in _PLAYERS and self.dice.chance(0.28):
            self._finish(turn, self.dice.lognormal(70.0, 0.9))
            self._pursue(self._in_context())
        elif request.intent in FOLLOW_UPS and self.dice.chance(0.2):
            self._finish(turn, 4.0 + self.dice.lognormal(12.0, 0.8))
            self._pursue(request)
        else:
            self._finish(turn, self.dice.lognormal(170.0, 1.0))

    def _aside(self, turn: Turn, request: Request) -> None:
        """What passes before something is left out; at times a small request comes between."""
        self._finish(turn, self.dice.lognormal(35.0, 0.6))
        if self.dice.chance(0.3):
            small = self._in_context() if request.intent in _PLAYERS else self.world.offer.by_intent["time"][0]
            aside = self._ask(say(self.person, small, self.world.offer, self.dice), small)
            self._finish(aside, 4.0 + self.dice.lognormal(12.0, 0.8))

    def _another(self, request: Request) -> Request:
        """Something else of the same kind: exploring, no correction."""
        offer = self.world.offer
        found = offer.by_intent[request.intent][offer.fame[request.intent].draw(self.dice)]
        return found if self.fresh or found not in offer.new else request

    def _in_context(self) -> Request:
        names = ("next", "next", "next", "louder", "quieter", "what_is_playing", "more_like_this", "pause", "resume",
                 "previous", "add_to_playlist", "stop")  # fmt: skip
        return self.dice.pick(self.world.offer.by_intent[self.dice.pick(names)])


def simulate(
    catalogue: dict[str, Request],
    recognitions: pa.Table,
    settings: Settings,
    rng: np.random.Generator,
    service: Service | None = None,
) -> list[Turn]:
    """Turns of all users in order of time (then user), their rows numbered.

    Args:
        catalogue: spoken texts and what they ask for.
        recognitions: the recordings (text, voice, take, recognised, nbest).
        settings: size and span.
        rng: the only source of randomness; the same state gives the same turns.
        service: a rewriter to put in front of the assistant; None for a log without one.
    """
    world = Simulation(catalogue, recordings(recognitions), settings, rng, service)
    turns = sorted(world.turns(), key=lambda turn: (turn.asked.seconds, turn.asked.user_id))
    for row, turn in enumerate(turns):
        turn.row = row
    return turns
