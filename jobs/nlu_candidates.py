"""Candidates for selection from mining's tables: texts that worked, with the reading under which they worked."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.nlu_rows import canonical
from rewrite.text import normalise
from selection.examples import Utterance
from selection.labels import Labels
from selection.model import Nlu
from selection.selecting import Candidate

_TURN_COLUMNS = ("text", "user_id", "asr_confidence", "domain", "intent", "slots", "defect_probability", "rewrite")


@dataclass(frozen=True)
class Floors:
    """What a text must have shown to be a candidate.

    Attributes:
        asr_confidence: mean of its satisfied turns; unknown confidences count as 1.
        defect: a turn below this defect probability counts as satisfied.
        users: distinct satisfied users.
        second_turns: only texts that successful reformulations ended in.
        most: candidates kept, infrequent ones first.
    """

    asr_confidence: float = 0.6
    defect: float = 0.2
    users: int = 2
    second_turns: bool = True
    most: int = 20_000


@dataclass(frozen=True)
class Found:
    """Candidates, and why others were not taken (reason -> texts)."""

    candidates: list[Candidate]
    dropped: Mapping[str, int]


def from_mined(mined: Path, labels: Labels, floors: Floors) -> Found:
    """The candidates of a mining run.

    Raises:
        ValueError: `mined` is no finished run.
    """
    import pyarrow.parquet as pq

    from jobs.rundir import manifest_of

    manifest_of(mined)
    columns = [c for c in _TURN_COLUMNS if c in pq.read_schema(_first_part(mined / "turns")).names]
    turns = pq.read_table(mined / "turns", columns=columns).to_pylist()
    pairs = pq.read_table(mined / "reformulations", columns=["target", "kind"]).to_pylist()
    targets = {pair["target"] for pair in pairs if pair["kind"] in ("correction", "rewording")}
    return from_turns(turns, targets if floors.second_turns else None, labels, floors)


def _first_part(folder: Path) -> Path:
    return min(folder.glob("*.parquet"))


def from_turns(turns: Iterable[Mapping[str, Any]], targets: set[str] | None, labels: Labels, floors: Floors) -> Found:
    """As `from_mined`; `targets` None takes every text.

    The label of a text is the commonest reading among its satisfied turns; turns that a rewrite answered say nothing
    of the text itself and are left out.
    """
    satisfied: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for turn in turns:
        if turn["defect_probability"] < floors.defect and not turn.get("rewrite") and turn.get("intent"):
            satisfied[turn["text"]].append(turn)
    dropped: Counter[str] = Counter()
    kept = []
    for text, mine in sorted(satisfied.items()):
        candidate = _candidate(text, mine)
        reason = _reason(candidate, mine, targets, labels, floors)
        if reason:
            dropped[reason] += 1
        else:
            kept.append(candidate)
    kept.sort(key=lambda c: (c.count, c.utterance.text))
    if len(kept) > floors.most:
        dropped["too frequent"] = len(kept) - floors.most
    return Found(kept[: floors.most], dict(dropped))


def _candidate(text: str, turns: Sequence[Mapping[str, Any]]) -> Candidate:
    users = len({turn["user_id"] for turn in turns})
    readings = Counter((t["domain"] or "", t["intent"], canonical(t["slots"] or [])) for t in turns)
    (domain, intent, slots), votes = min(readings.items(), key=lambda item: (-item[1], item[0]))
    evidence = f"{len(turns)} satisfied turns of {users} users, {votes} with this reading"
    return Candidate(Utterance(text, domain, intent, slots), users, len(turns), evidence)


def _reason(
    candidate: Candidate,
    turns: Sequence[Mapping[str, Any]],
    targets: set[str] | None,
    labels: Labels,
    floors: Floors,
) -> str:
    """Why a text is no candidate; empty where it is one."""
    heard = [1.0 if (c := turn.get("asr_confidence")) is None else float(c) for turn in turns]
    if targets is not None and candidate.utterance.text not in targets:
        return "no second turn of a reformulation"
    if candidate.users < floors.users:
        return "too few users"
    if sum(heard) / len(heard) < floors.asr_confidence:
        return "heard with too little confidence"
    return "label unknown to the model" if labels.unknown([candidate.utterance]) else ""


def from_stream(rows: Sequence[Mapping[str, Any]], text_column: str, labels: Labels) -> Found:
    """Candidates of labelled traffic: one per text, its label the commonest of the columns `nlu_intent`, `nlu_slots`.

    A reading that names no domain gets the domain that its intent has in training. A file without `nlu_intent` gives
    candidates without labels, for `relabel`.
    """
    domain_of = {intent: domain for domain, intent in reversed(labels.pairs)}
    turns: dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]] = defaultdict(list)
    for row in rows:
        reading = (str(row.get("nlu_intent") or ""), canonical(row.get("nlu_slots") or []))
        turns[normalise(str(row[text_column] or ""))].append(reading)
    dropped: Counter[str] = Counter()
    kept = []
    for text, readings in sorted(turns.items()):
        (intent, slots), _ = min(Counter(readings).items(), key=lambda item: (-item[1], item[0]))
        candidate = Utterance(text, domain_of.get(intent, ""), intent, slots)
        if not text or (intent and labels.unknown([candidate])):
            dropped["label unknown to the model" if text else "no text"] += 1
            continue
        kept.append(Candidate(candidate, len(readings), len(readings), f"heard {len(readings)} times"))
    return Found(kept, dict(dropped))


def relabel(candidates: Sequence[Candidate], model: Nlu) -> list[Candidate]:
    """The same texts under the model's own readings."""
    readings = model.read([c.utterance.text for c in candidates])
    return [
        replace(c, utterance=Utterance(c.utterance.text, best.domain, best.intent, best.slots))
        for c, (best,) in zip(candidates, readings, strict=True)
    ]
