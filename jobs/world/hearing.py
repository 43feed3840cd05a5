"""What the recogniser makes of a request: the real recordings, and when a user is misheard.

A recording of pocketsphinx is wrong far more often than a shipped assistant. So each user and text has a standing
draw: either this person is usually heard right here, or usually misheard, and then in the same way (as people are: it
is their voice and their room), which is one of the real misrecognitions in their voice (in another voice where the text
was not recorded in theirs). From `fresh_day` on some draws are made anew, from recordings held back until then.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from rapidfuzz import fuzz

from jobs.world.dice import Dice

MISHEARD_USUALLY = 0.8
MISHEARD_RARELY = 0.02
SLOW_SPEECH_HELPS = 0.45
OTHER_VARIANT = 0.15
NEW_SITUATION = 0.17
NBEST_KEPT = 5
MILD_RATIO = 70.0
"""Character ratio, 0-100, of a misrecognition that is met as often as the user's share says."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One way in which the recogniser hears a text: the words it reports and its best guesses."""

    text: str
    nbest: tuple[str, ...]


@dataclass(frozen=True)
class Spoken:
    """The recordings of one text in one voice: how it is misheard at first and from the fresh day, and heard right."""

    old: tuple[Heard, ...]
    fresh: tuple[Heard, ...]
    right: Heard


def _hearings(nbest: list[str], text: str) -> list[Heard]:
    """The recogniser's best and second best, where they are wrong: two ways to be misheard."""
    wrong = [guess for guess in nbest if guess and guess != text][:2]
    return [Heard(guess, (guess, *(g for g in nbest if g and g != guess))[:NBEST_KEPT]) for guess in wrong]


def recordings(table: pa.Table) -> dict[tuple[str, str], Spoken]:
    """Recordings by (text, voice) from a table with columns text, voice, take, recognised, nbest.

    Take 0 is there from the start; take 1, and the second guess of every third text, are held back for the fresh day.
    """
    old: dict[tuple[str, str], list[Heard]] = {}
    fresh: dict[tuple[str, str], list[Heard]] = {}
    guesses: dict[tuple[str, str], list[str]] = {}
    for row in table.sort_by([("text", "ascending"), ("voice", "ascending"), ("take", "ascending")]).to_pylist():
        key = (row["text"], row["voice"])
        nbest = list(dict.fromkeys([row["recognised"], *row["nbest"]]))
        found = _hearings(nbest, row["text"])
        if row["recognised"] == row["text"]:
            found = []
        guesses.setdefault(key, nbest)
        late = row["take"] > 0
        (fresh if late else old).setdefault(key, []).extend(found if late else found[:1])
        if not late:
            held_back = len(row["text"]) % 2 == 0
            (fresh if held_back else old).setdefault(key, []).extend(found[1:])
    return {key: _spoken(key[0], old.get(key, []), fresh.get(key, []), nbest) for key, nbest in guesses.items()}


def _spoken(text: str, old: Iterable[Heard], fresh: Iterable[Heard], nbest: list[str]) -> Spoken:
    return Spoken(tuple(old), tuple(fresh), right_hearing(text, nbest))


def right_hearing(text: str, nbest: Iterable[str] = ()) -> Heard:
    """The text heard right, with the recogniser's other guesses behind it."""
    others = (guess for guess in nbest if guess and guess != text)
    return Heard(text, (text, *others)[:NBEST_KEPT])


def mildness(text: str, heard: str) -> float:
    """How much more often than the average a misrecognition is met, 0 to about 2.

    A shipped recogniser's errors are milder than pocketsphinx's, so near misses count more than word salad.
    """
    return (fuzz.ratio(text, heard) / MILD_RATIO) ** 2


class Ear:
    """What the recogniser hears of one user, with memory: see the module's first lines."""

    def __init__(self, spoken: dict[tuple[str, str], Spoken], voice: str, misheard_share: float, dice: Dice) -> None:
        self._spoken, self._voice, self._share, self._dice = spoken, voice, misheard_share, dice
        self._others = sorted({other for _, other in spoken} - {voice})
        self._standing: dict[tuple[str, bool], tuple[float, Heard | None]] = {}

    def hear(self, text: str, *, fresh: bool, slow: bool) -> Heard:
        """Hear `text`; `slow` speech is heard right more often. A text without recordings is always heard right."""
        voices = (self._voice, *self._others)
        spoken = next((self._spoken[text, voice] for voice in voices if (text, voice) in self._spoken), None)
        if spoken is None:
            return right_hearing(text)
        probability, usual = self._usual(text, spoken, fresh)
        if usual is None or not self._dice.chance(probability * (1 - SLOW_SPEECH_HELPS * slow)):
            return spoken.right
        other = self._dice.chance(OTHER_VARIANT)
        return self._dice.pick(spoken.old) if other and spoken.old else usual

    def _usual(self, text: str, spoken: Spoken, fresh: bool) -> tuple[float, Heard | None]:
        """The standing draw of this user for this text: how often misheard, and as what."""
        key = (text, fresh)
        if key not in self._standing:
            kept = self._standing.get((text, False)) if fresh else None
            stays = kept is not None and not self._dice.chance(NEW_SITUATION)
            self._standing[key] = kept if kept is not None and stays else self._draw(text, spoken, fresh)
        return self._standing[key]

    def _draw(self, text: str, spoken: Spoken, fresh: bool) -> tuple[float, Heard | None]:
        pool = (spoken.fresh or spoken.old) if fresh else spoken.old
        if not pool:
            return 0.0, None
        heard = self._dice.pick(pool)
        usually = self._dice.chance(self._share * mildness(text, heard.text))
        return (MISHEARD_USUALLY if usually else MISHEARD_RARELY), heard


def confidence_tables(rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Recogniser's confidence, as 1,024 quantiles each: heard wrong (mean .57), right (mean .78)."""
    wrong, right = rng.beta(4.5, 3.4, 40_960), rng.beta(7.0, 2.0, 40_960)
    levels = (np.arange(1024) + 0.5) / 1024
    return np.quantile(wrong, levels).round(4).tolist(), np.quantile(right, levels).round(4).tolist()
