"""References on a log, each acting from the confidence that held-back history allows: one protocol for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from jobs.catalogue_references import FITTED, Pairs, Reference, fit
from jobs.labels import judged_turns
from jobs.learn import History
from jobs.operating_point import HARM_ALLOWED, OperatingPoint, operating_point
from jobs.progress import track
from jobs.references import Answers
from jobs.ties import fit_ties
from rewrite.judged import Judged
from rewrite.spaces import Knowledge
from rewrite.text import normalise
from rewrite.turn import Reading


@dataclass(frozen=True)
class Settled:
    """One reference on N turns: all that it would answer, and the point from which it acts, as held-back turns say."""

    found: Answers
    point: OperatingPoint

    @property
    def acting(self) -> Answers:
        """The answers it is confident enough of; None for the others."""
        sure = self.found.confidence >= self.point.threshold
        return Answers(
            tuple(text if acts else None for text, acts in zip(self.found.rewrites, sure.tolist(), strict=True)),
            self.found.confidence,
        )


@dataclass(frozen=True)
class _Space:
    """What references are fitted to: the global texts, and a (heard, meant) pair for each user who made it."""

    knowledge: Knowledge
    pairs: Pairs

    @classmethod
    def of(cls, tables: Mapping[str, pa.Table]) -> "_Space":
        made = tables["reformulations"].select(["source", "target", "users"]).to_pylist()
        pairs = [(row["source"], row["target"]) for row in made for _ in range(row["users"])]
        return cls(Knowledge.from_tables(tables), sorted(pairs))

    def fit(self, name: str, seed: int) -> Reference:
        return fit(name, self.knowledge.texts, self.pairs, seed)


def settle(
    mined: Path, queries: Sequence[str], seed: int = 0, harm_allowed: float = HARM_ALLOWED
) -> dict[str, Settled]:
    """Every reference of `FITTED` on N normalised queries, by name.

    Each is fitted twice: to what was known before the held-back turns, on which its threshold is found, and to the
    whole history, with which it answers.

    Args:
        harm_allowed: share of the held-back good turns that may be rewritten wrong.

    Raises:
        FileNotFoundError: `mined` is no finished run. ValueError: it held nothing back, or has an empty global space.
        ModuleNotFoundError: the extra `retrieval` is not installed.
    """
    history = History.read(mined)
    now, past = _Space.of(history.tables), _Space.of(history.past)
    judged = judged_turns(history.turns, history.since, now.knowledge, fit_ties(history.turns, seed))

    def settled(name: str) -> Settled:
        point = point_of(past.fit(name, seed), judged, past.knowledge, harm_allowed)
        return Settled(_answer(now.fit(name, seed), queries), point)

    return {name: settled(name) for name in track(list(FITTED), "references")}


def point_of(
    reference: Reference, judged: Sequence[Judged], knowledge: Knowledge, harm_allowed: float
) -> OperatingPoint:
    """Where the harm on held-back turns is within what is allowed; what nobody knows to be right counts as wrong."""
    answers = _answer(reference, [normalise(j.turn.utterance) for j in judged])
    right = [_meets(text, j, knowledge) for text, j in zip(answers.rewrites, judged, strict=True)]
    return operating_point(
        answers.confidence,
        np.array([text is not None for text in answers.rewrites], dtype=bool),
        np.array(right, dtype=bool),
        np.array([j.fails for j in judged], dtype=bool),
        harm_allowed,
    )


def _meets(text: str | None, judged: Judged, knowledge: Knowledge) -> bool:
    if text is None or judged.want is None:
        return False
    known = knowledge.known.get(text)
    return judged.want.met_by(text, known.reading if known is not None else Reading())


def _answer(reference: Reference, queries: Sequence[str]) -> Answers:
    """The reference's answers, every distinct query asked once."""
    distinct, row = np.unique(np.array(queries, dtype=object).astype(str), return_inverse=True)
    return reference.answer(distinct.tolist()).of(row.tolist())
