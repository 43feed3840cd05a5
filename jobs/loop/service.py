"""The service as the simulated users meet it: the champion decides, a stable share of users is held out."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobs.world.people import Person
from jobs.world.simulator import Asked
from rewrite.assignment import bucket
from rewrite.turn import Reading, Turn

if TYPE_CHECKING:
    from rewrite import Rewriter

SESSION_GAP_S = 120.0
EARLIER = 3


class LoopService:
    """Decides every turn, and keeps what it did by (user, second) for the log."""

    def __init__(self, people: dict[str, Person], holdout_share: float, salt: str) -> None:
        self.people, self.holdout_share, self.salt = people, holdout_share, salt
        self.rewriter: Rewriter | None = None
        self.bundle: str | None = None
        self.exposures: dict[tuple[str, float], dict[str, Any]] = {}
        self._earlier: dict[str, list[tuple[float, str]]] = {}

    def held_out(self, user_id: str) -> bool:
        """Whether this user's turns are never rewritten."""
        return bucket(user_id, self.salt) < self.holdout_share

    def put(self, rewriter: "Rewriter | None", bundle: str | None) -> None:
        """Exchange the bundle in force; None leaves every turn alone and logs nothing."""
        self.rewriter, self.bundle = rewriter, bundle

    def __call__(self, asked: Asked) -> str | None:
        """The text to act on instead of the utterance, or None."""
        turn = self._turn(asked)
        self._earlier.setdefault(asked.user_id, []).append((asked.seconds, asked.utterance))
        if self.rewriter is None:
            return None
        decision = self.rewriter.rewrite_turn(turn)
        held = self.held_out(asked.user_id)
        chance = self.holdout_share if held else 1 - self.holdout_share
        self.exposures[asked.user_id, asked.seconds] = {
            "text": decision.text,
            "source": decision.source,
            "bundle": self.bundle,
            "propensity": chance if decision.text is not None else 1.0,
            "holdout": held,
        }
        return None if held else decision.text

    def _turn(self, asked: Asked) -> Turn:
        earlier = self._earlier.get(asked.user_id, [])
        recent, last = [], asked.seconds
        for second, text in reversed(earlier[-EARLIER:]):
            if last - second > SESSION_GAP_S:
                break
            recent.append(text)
            last = second
        person = self.people[asked.user_id]
        turn = Turn(
            asked.utterance,
            user_id=asked.user_id,
            timestamp_s=asked.seconds,
            asr_confidence=asked.asr_confidence,
            asr_nbest=asked.heard.nbest if asked.heard is not None else (),
            reading=Reading.of(asked.reading.domain, asked.reading.intent, asked.reading.slots),
            nlu_confidence=asked.reading.confidence,
            device=person.device if asked.heard is not None else "phone",
            locale=person.locale,
        )
        gap_s = asked.seconds - earlier[-1][0] if recent else None
        return replace(turn, turns=tuple(reversed(recent)), gap_s=gap_s)
