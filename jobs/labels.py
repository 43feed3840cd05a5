"""Held-back history to judged turns: what failed, and what the user then turned out to want.

Only history is read here: outcomes of the held-back turns and the turns after them, never the future to be rewritten.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.acted import acted_on, as_said
from jobs.follow_ups import FollowUps
from jobs.turns import turns_of
from rewrite.judged import Judged, Want
from rewrite.sequels import Sequels
from rewrite.spaces import Knowledge
from rewrite.text import normalise
from rewrite.ties import Ties
from rewrite.turn import Reading, Turn


def judged_turns(turns: pa.Table, since: datetime, knowledge: Knowledge, ties: Ties | None) -> list[Judged]:
    """Judge every turn of mining's `turns` table from `since` on.

    A turn fails if its defect probability is over a half. What a good turn wanted is what it got. What a failing one
    wanted is what its user then succeeded with, else what others did who had said the same; follow-ups unlike it
    count where mining found that they belong to it, or users of the text agree on their intent. What leans on the
    session ("play it again") wanted a follow-up that is tied to it; what others wanted by the same words tells nothing.
    A turn that was rewritten tells nothing of the text as it was said if it failed; see `_cured` for the others.

    Args:
        knowledge: the whole history's: only its mined pairs and its sequels are looked at.
        ties: the whole history's, as `jobs.ties` fits them: which texts lean on the session.
    """
    ordered = turns.sort_by([("user_id", "ascending"), ("timestamp", "ascending"), ("interaction_id", "ascending")])
    probability = ordered["defect_probability"].to_pylist()
    acted, shown = acted_on(ordered)
    inside = pc.greater_equal(ordered["timestamp"], pa.scalar(since, ordered["timestamp"].type)).to_pylist()
    logged = turns_of(ordered)
    fails = [p > 0.5 for p in probability]
    rows = [row for row in range(len(logged)) if inside[row] and not shown[row]]
    follow_ups = FollowUps(logged, acted, fails, knowledge, ties)
    wants = {row: follow_ups.want(row) if fails[row] else _own(logged[row]) for row in rows}
    of_text = [row for row in rows if fails[row] and not follow_ups.leans(row)]
    shared = _mined(knowledge) | _shared(wants, of_text, logged, knowledge.sequels)
    wants |= {row: shared.get(normalise(logged[row].utterance)) for row in of_text if wants[row] is None}
    found = [Judged(logged[row], probability[row], wants[row]) for row in rows]
    cured = [row for row in range(len(logged)) if inside[row] and shown[row] and not fails[row]]
    return found + _cured(logged, acted, shown, probability, cured)


def _cured(
    logged: Sequence[Turn],
    acted: Sequence[str],
    shown: Sequence[bool],
    probability: Sequence[float],
    rows: Sequence[int],
) -> list[Judged]:
    """Rewritten turns that went well, where the same text mostly fails if left alone: they wanted what they got.

    Left out, nobody would ever learn again of what the service cures; counted as they ended, it would unlearn it; and
    without turns that were left alone, as the holdout's are, a bad bundle would teach its own rewrites.
    """
    alone: dict[str, list[float]] = {normalise(logged[row].utterance): [] for row in rows}
    for row, turn in enumerate(logged):
        text = normalise(turn.utterance)
        if text in alone and not shown[row]:
            alone[text].append(probability[row])
    said = read_as_said(logged, shown)
    found = []
    for row in rows:
        left = alone[normalise(logged[row].utterance)]
        failing = sum(left) / max(len(left), 1)
        if failing > 0.5:
            found.append(Judged(said[row], failing, Want(acted[row], logged[row].reading)))
    return found


def read_as_said(logged: Sequence[Turn], shown: Sequence[bool]) -> list[Turn]:
    """The turns as they were before any rewrite.

    Of a rewritten turn the log has the reading of the rewrite. That of the text as it was said is the commonest among
    the turns with this text that were left alone; without any, nobody knows.
    """
    heard: dict[str, Counter[tuple[Reading, float | None]]] = {}
    for turn, rewritten in zip(logged, shown, strict=True):
        if not rewritten:
            heard.setdefault(normalise(turn.utterance), Counter())[turn.reading, turn.nlu_confidence] += 1
    usual = {text: max(counts, key=lambda r: (counts[r], str(r))) for text, counts in heard.items()}
    found = []
    for turn, rewritten in zip(logged, shown, strict=True):
        if rewritten:
            reading, confidence = usual.get(normalise(turn.utterance), (Reading(), None))
            turn = replace(turn, reading=reading, nlu_confidence=confidence)
        found.append(turn)
    return found


def _shared(
    wants: Mapping[int, Want | None], rows: Sequence[int], logged: Sequence[Turn], sequels: Sequels
) -> dict[str, Want]:
    """What a failing text mostly turned out to mean to those who said it again: for those who gave up on it.

    One user alone does not tell where others went on to other things.
    """
    users: dict[str, dict[Want, set[str | None]]] = {}
    for row in rows:
        want = wants[row]
        if want is not None:
            of_text = users.setdefault(normalise(logged[row].utterance), {})
            of_text.setdefault(want, set()).add(logged[row].user_id)
    found = {text: min(of, key=lambda w: (-len(of[w]), w.text)) for text, of in users.items()}
    return {text: w for text, w in found.items() if len(users[text][w]) > 1 or not sequels.disputed(text)}


def _mined(knowledge: Knowledge) -> dict[str, Want]:
    """What mining found a text to turn out as: the best pair of each source whose target is in the global space."""
    found = {}
    for source, pairs in knowledge.look_up.items():
        known = knowledge.known.get(pairs[0].target)
        if known is not None:
            found[source] = Want(known.text, known.reading, source)
    return found


def _own(turn: Turn) -> Want:
    return Want(normalise(turn.utterance), turn.reading)


def intent_defect_rates(judged_before: pa.Table, least: int = 30) -> dict[str, float]:
    """Share of failing turns per recognised intent (smoothed towards the overall share), from earlier turns only."""
    judged_before = as_said(judged_before)
    if "intent" not in judged_before.column_names or not judged_before.num_rows:
        return {}
    probability = judged_before["defect_probability"]
    overall = pc.mean(probability).as_py() or 0.0
    grouped = pa.table({"intent": judged_before["intent"], "p": probability}).group_by("intent")
    rates: dict[str, float] = {}
    row: dict[str, Any]
    for row in grouped.aggregate([("p", "sum"), ("p", "count")]).sort_by("intent").to_pylist():
        if row["intent"] is not None:
            rates[row["intent"]] = (row["p_sum"] + overall * least) / (row["p_count"] + least)
    return rates


def pairs_with_context(turns: pa.Table, known_pairs: set[tuple[str, str]]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Each mined (source, target) as it occurred, with the turns before the source: the generator's training pairs."""
    ordered = turns.sort_by([("user_id", "ascending"), ("timestamp", "ascending"), ("interaction_id", "ascending")])
    logged = turns_of(ordered)
    found = set()
    for first, second in pairwise(logged):
        pair = (normalise(first.utterance), normalise(second.utterance))
        if first.user_id == second.user_id and pair in known_pairs:
            found.add((*pair, first.turns))
    return sorted(found)


def meanings(turns: pa.Table, reformulations: pa.Table, sequels: pa.Table) -> tuple[list[str], list[str], list[float]]:
    """Texts, the intents they turned out to have, and weights: to learn what garbled queries meant.

    A text that succeeded means what the NLU read; a source of a mined pair means what its target does, and a text that
    failed what its users then got.

    Args:
        sequels: of any number of users, as `jobs.sequels` counts them.
    """
    if "intent" not in turns.column_names:
        return [], [], []
    succeeded = turns.filter(pc.less(turns["defect_probability"], 0.5))
    grouped = succeeded.group_by(["text", "intent"]).aggregate([([], "count_all")]).sort_by("text")
    counts: dict[str, tuple[int, str]] = {}
    for text, intent, count in zip(
        grouped["text"].to_pylist(), grouped["intent"].to_pylist(), grouped["count_all"].to_pylist(), strict=True
    ):
        if intent is not None:
            counts[text] = max(counts.get(text, (0, "")), (count, intent))
    rows = [(text, intent, 1.0) for text, (_, intent) in sorted(counts.items())]
    for r in reformulations.sort_by([("source", "ascending"), ("target", "ascending")]).to_pylist():
        if r["target"] in counts:
            rows.append((r["source"], counts[r["target"]][1], 3.0))
    rows += _after_failures(sequels)
    texts, intents, weights = zip(*rows, strict=True) if rows else ((), (), ())
    return list(texts), list(intents), list(weights)


def _after_failures(sequels: pa.Table) -> list[tuple[str, str, float]]:
    """Each failed text with what its users then got: users agree more often than not, chance says other things."""
    rows = [r for r in sequels.to_pylist() if r["text"] is not None and r["slots"] is None]
    followed = {r["text"]: r["users"] for r in rows if r["intent"] is None}
    return [
        (r["text"], r["intent"], 2.0 * r["users"] / math.sqrt(followed[r["text"]]))
        for r in rows
        if r["intent"] is not None
    ]


def texts_in_force(knowledge: Knowledge) -> list[str]:
    """Every text that a rewrite may be, over all users, sorted: the catalogue that training gives queries to."""
    own = {text for user in getattr(knowledge.personal, "users", list)() for text in knowledge.personal.of(user).texts}
    return sorted(own | knowledge.known.keys())
