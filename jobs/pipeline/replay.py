"""Challenger and champion on the same held-back turns: what each would have done, judged by what users turned out to
want.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs import clusters
from jobs.metrics import Outcomes, measure
from rewrite.text import normalise

if TYPE_CHECKING:
    from rewrite import Rewriter
    from rewrite.judged import Judged
    from rewrite.turn import Turn

SLICES = ("device", "domain", "locale")
LEAST_TURNS = 200
"""A slice with fewer turns says too little to be judged."""

LEVEL = 0.95


@dataclass(frozen=True)
class Replayed:
    """What one bundle did to N turns; `flips`, shape (N,): turns that seemed fine, given another intent."""

    answers: tuple[str | None, ...]
    outcomes: Outcomes
    flips: np.ndarray
    latency_ms: np.ndarray


def judged_sample(mined: Path, most: int) -> "list[Judged]":
    """The held-back turns of whole users, taken in the order of their ids' hash, until there are `most` turns."""
    from jobs.labels import judged_turns
    from jobs.learn import History
    from jobs.ties import fit_ties
    from rewrite.spaces import Knowledge

    history = History.read(mined)
    knowledge, ties = Knowledge.from_tables(history.tables), fit_ties(history.turns, seed=0)
    found = judged_turns(history.turns, history.since, knowledge, ties)
    found.sort(key=lambda j: (_hash(j.turn.user_id), j.turn.user_id or "", j.turn.timestamp_s or 0.0))
    if len(found) <= most:
        return found
    last = found[most - 1].turn.user_id
    return [j for row, j in enumerate(found) if row < most or j.turn.user_id == last]


def _hash(user_id: str | None) -> str:
    return hashlib.sha256((user_id or "").encode()).hexdigest()


def replay(judged: "Sequence[Judged]", rewriter: "Rewriter") -> Replayed:
    """Decide every turn and judge the decision."""
    users = {user: row for row, user in enumerate(sorted({j.turn.user_id or "" for j in judged}))}
    answers, right, flips, latency = [], [], [], []
    for j in judged:
        started = time.perf_counter()
        decision = rewriter.rewrite_turn(j.turn)
        latency.append((time.perf_counter() - started) * 1e3)
        answers.append(decision.text)
        reading = reading_of(rewriter, j.turn, decision.text)
        right.append(j.want is not None and decision.text is not None and j.want.met_by(decision.text, reading))
        flips.append(decision.text is not None and not j.fails and reading.intent != j.turn.reading.intent)
    fails = np.array([j.fails for j in judged], dtype=bool)
    known = np.array([j.want is not None for j in judged], dtype=bool)
    rows = np.array([users[j.turn.user_id or ""] for j in judged], dtype=np.int64)
    rewritten = np.array([answer is not None for answer in answers], dtype=bool)
    outcomes = Outcomes(rewritten, np.array(right, dtype=bool), fails, fails & known, rows)
    return Replayed(tuple(answers), outcomes, np.array(flips, dtype=bool), np.array(latency))


def reading_of(rewriter: "Rewriter", turn: "Turn", text: str | None) -> Any:
    """How the NLU reads a text in force, from the user's own history or everybody's."""
    from rewrite.turn import Reading

    knowledge = rewriter.scorer.knowledge
    own = knowledge.personal.of(turn.user_id).texts.get(text or "")
    known = own or knowledge.known.get(text or "")
    return known.reading if known is not None else Reading()


def spoiled(judged: "Sequence[Judged]", replayed: Replayed, sure: Set[str]) -> dict[str, Any]:
    """Of the turns that were fine and whose text is one of `sure`: how many there are, and those rewritten wrong."""
    rows = [row for row, j in enumerate(judged) if not j.fails and normalise(j.turn.utterance) in sure]
    broken = [row for row in rows if replayed.outcomes.broken[row]]
    found = [{"utterance": judged[row].turn.utterance, "answer": replayed.answers[row]} for row in broken]
    return {"turns": len(rows), "share": round(len(broken) / len(rows), 6) if rows else None, "broken": found}


def figures(replayed: Replayed) -> dict[str, dict[str, float | None]]:
    """Every metric with its interval; None for what could not be counted."""
    return {
        name: {"value": _plain(e.value), "low": _plain(e.low), "high": _plain(e.high)}
        for name, e in measure(replayed.outcomes).items()
    }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def defects_after(outcomes: Outcomes) -> np.ndarray:
    """Which turns are defective once rewritten, shape (N,)."""
    return (outcomes.defect & ~outcomes.fixed) | outcomes.broken


def worse_slices(judged: "Sequence[Judged]", ours: Replayed, theirs: Replayed) -> list[dict[str, Any]]:
    """Every slice of at least LEAST_TURNS turns, with our defect rate minus theirs.

    `worse` where even the lower end of its interval is above zero; intervals are widened for the number of slices
    (Bonferroni), as one among many is always unlucky.
    """
    change = defects_after(ours.outcomes).astype(float) - defects_after(theirs.outcomes)
    members = _members(judged)
    level = 1 - (1 - LEVEL) / max(1, len(members))
    found = []
    for (name, value), rows in members.items():
        gap = clusters.ratio(change[rows], np.ones(len(rows)), ours.outcomes.user_row[rows], level)
        bounds = {"change": _plain(gap.value), "low": round(gap.low, 6), "high": round(gap.high, 6)}
        found.append({"slice": f"{name} {value}", "turns": len(rows), **bounds, "worse": bool(gap.low > 0)})
    return found


def _members(judged: "Sequence[Judged]") -> Mapping[tuple[str, str], np.ndarray]:
    found: dict[tuple[str, str], list[int]] = {}
    for row, j in enumerate(judged):
        values = {"device": j.turn.device, "domain": j.turn.reading.domain, "locale": j.turn.locale}
        for name in SLICES:
            if values[name]:
                found.setdefault((name, str(values[name])), []).append(row)
    return {key: np.array(rows) for key, rows in sorted(found.items()) if len(rows) >= LEAST_TURNS}
