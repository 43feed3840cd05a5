"""The cells of `reprise bench select`: one per seed, strategy and budget, each a JSON line once it is done."""

import copy
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs import nlu_candidates, nlu_evaluation
from jobs.bench.select_attributions import throughput
from jobs.nlu import TrainOptions, fit
from jobs.nlu_gate import tail_rows
from jobs.nlu_rows import canonical, hold_out, read_rows, read_table
from rewrite.text import normalise
from selection.examples import Utterance
from selection.influence import Influence
from selection.metrics import accuracy, semer
from selection.model import Nlu
from selection.selecting import Candidate, Options, pick
from selection.strategies import STRATEGIES, Scene, explain_mistakes, importance_of
from selection.training import Prepared, WarmConfig, warm_train

NOTHING = "nothing"
OURS = "integrated gradients"
SHARES = (0.4, 0.2, 0.4)
"""Of the sentences: to pick from, to find the mistakes on, to judge on."""

ABLATIONS: dict[str, Mapping[str, Any]] = {
    "no quotas": {"per_intent": 1.0, "per_domain": 1.0},
    "no near-duplicate removal": {"near_duplicate": 1.1},
    "sum over words (length bias)": {"length_exponent": 0.0},
    "mean over words": {"length_exponent": 1.0},
    "no diminishing returns": {"decay": 1.0},
    "slots too": {"slots": True},
    "no penalty": {"penalty": 0.0},
    "no surprise": {"surprise": 0.0},
}
"""Integrated gradients with one option changed."""

SCENE_OPTIONS = ("length_exponent", "decay", "slots", "penalty", "surprise")
"""The ablated options that scoring looks at; picking looks at the others."""

SOURCES = ("selection/*.py", "jobs/nlu*.py", "jobs/bench/select_runs.py", "rewrite/text.py")
"""Code that a cell's figures depend on; a work folder's cells of other code are left where they are, and not used."""

MOST_REPEATS = 20
"""A selected row is seen at most about this often in a retraining."""


@dataclass(frozen=True)
class Settings:
    """What the bench is told; see `jobs.bench.select`."""

    train: Path
    stream: Path
    work: Path
    seeds: int
    budgets: tuple[float, ...]
    strategies: tuple[str, ...]
    without: str | None
    labels: str
    epochs: int
    steps: int
    minutes: float | None
    threads: int

    def key(self) -> str:
        """Hash of all that a cell's figures depend on besides its seed, strategy and budget."""
        parts = [[p.name, hashlib.sha256(p.read_bytes()).hexdigest()] for p in (self.train, self.stream)]
        told = [self.without, self.labels, self.epochs, self.steps]
        return hashlib.sha256(json.dumps([parts, told, code()]).encode()).hexdigest()[:16]


def code(root: Path = Path(__file__).parents[2]) -> list[tuple[str, str]]:
    """Name and hash of every file of `SOURCES`."""
    found = sorted(path for pattern in SOURCES for path in root.glob(pattern))
    return [(str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in found]


@dataclass(frozen=True)
class World:
    """One seed's data and base model."""

    model: Nlu
    rehearsal: Prepared
    train_rows: int
    scene: Scene
    candidates: list[Candidate]
    judged: list[Utterance]
    label_accuracy: float


def numbers(listed: str) -> tuple[float, ...]:
    """Numbers with commas between.

    Raises:
        ValueError: something else.
    """
    try:
        return tuple(float(part) for part in listed.split(","))
    except ValueError as error:
        raise ValueError(f"expected numbers with commas between, got {listed!r}") from error


def known(listed: str | None, ablations: bool) -> tuple[str, ...]:
    """Names of strategies, checked; all where None."""
    names = tuple(listed.split(",")) if listed else tuple(STRATEGIES)
    if unknown := sorted(set(names) - set(STRATEGIES)):
        raise ValueError(f"unknown strategies {unknown}; expected some of {', '.join(STRATEGIES)}")
    return names + tuple(ABLATIONS) if ablations else names


def run(settings: Settings) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Do the cells that are not done yet; returns all that are, and facts about the run."""
    torch.set_num_threads(settings.threads)
    settings.work.mkdir(parents=True, exist_ok=True)
    path, key = settings.work / "cells.jsonl", settings.key()
    done = [cell for cell in _read(path) if cell["key"] == key]
    finished = {(c["seed"], c["strategy"], c["budget"]) for c in done}
    traffic = read_table(settings.stream)
    rows = _training_rows(settings)
    end = None if settings.minutes is None else time.monotonic() + 60 * settings.minutes
    for seed in range(settings.seeds):
        wanted = [cell for cell in _cells(settings) if (seed, *cell) not in finished]
        if not wanted or (end is not None and time.monotonic() > end):
            continue
        world = build_world(settings, rows, traffic, seed, key)
        _time_attributions(world, settings.work / f"attributions-{key}.json")
        for cell in _run_seed(world, wanted, settings, seed, end):
            cell["key"] = key
            done.append(cell)
            with path.open("a") as file:
                file.write(json.dumps(cell) + "\n")
    kept = [c for c in done if c["seed"] < settings.seeds and (c["strategy"], c["budget"]) in set(_cells(settings))]
    timed = settings.work / f"attributions-{key}.json"
    return kept, {
        "attributions": json.loads(timed.read_text()) if timed.exists() else None,
        "train": settings.train.name,
        "stream": settings.stream.name,
        "train_rows": len(rows),
        **_told(settings),
    }


def _time_attributions(world: World, path: Path) -> None:
    """Once for a run; kept beside the cells."""
    if not path.exists():
        found = throughput(world.model, [u.text for u in world.judged[:64]])
        path.write_text(json.dumps(found))


def _told(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name in ("labels", "epochs", "steps", "seeds")}


def _cells(settings: Settings) -> list[tuple[str, float]]:
    return [(NOTHING, 0.0), *((s, b) for b in settings.budgets for s in settings.strategies)]


def _read(path: Path) -> list[dict[str, Any]]:
    """The finished cells; a line that a kill tore is dropped."""
    cells = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            cells.append(json.loads(line))
        except ValueError:
            continue
    return cells


def _training_rows(settings: Settings) -> list[Utterance]:
    names = read_table(settings.train)[:1]
    without = settings.without if names and settings.without in names[0] else None
    return read_rows(settings.train, None, without)


def build_world(
    settings: Settings, rows: list[Utterance], traffic: Sequence[Mapping[str, Any]], seed: int, key: str
) -> World:
    """Split the traffic, train the base model (or open it where it was trained before), find the candidates."""
    training, kept = hold_out(rows, 0.1, seed)
    folder = settings.work / f"base-{key}-{seed}"
    if (folder / "done").exists():
        model = Nlu.load(folder)
    else:
        model = fit(
            training, kept, TrainOptions(epochs=settings.epochs, seed=seed, threads=settings.threads), None, True
        )
        model.save(folder)
        (folder / "done").touch()
    column = "recognised" if "recognised" in traffic[0] else "text"
    pool, mistakes, judged = split(traffic, column, seed)
    found = nlu_candidates.from_stream(pool, column, model.labels).candidates
    if settings.labels == "model" or not all(c.utterance.intent for c in found):
        found = nlu_candidates.relabel(found, model)
    labelled = _labelled(mistakes, column, model) + kept
    counts = Counter(u.intent for u in training)
    return World(
        model,
        Prepared.of(training, model.labels),
        len(training),
        Scene(model, labelled, counts, seed),
        found,
        _labelled(judged, column, model),
        _label_accuracy(found, pool, column),
    )


def split(
    traffic: Sequence[Mapping[str, Any]], column: str, seed: int
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Three parts by sentence (by text where there is no sentence_id): a sentence is in one part only."""
    parts: tuple[list[Mapping[str, Any]], ...] = ([], [], [])
    bounds = np.cumsum(SHARES)
    for row in traffic:
        group = row.get("sentence_id", normalise(str(row[column])))
        drawn = int(hashlib.sha256(f"{seed}\0{group}".encode()).hexdigest()[:12], 16) / 16**12
        parts[min(int(np.searchsorted(bounds, drawn, side="right")), 2)].append(row)
    return parts[0], parts[1], parts[2]


def _labelled(rows: Sequence[Mapping[str, Any]], column: str, model: Nlu) -> list[Utterance]:
    """Rows whose intent the model knows, under their right labels; the others are wrong whatever is added."""
    domain_of = {intent: domain for domain, intent in reversed(model.labels.pairs)}
    return [
        Utterance(text, domain_of[str(row["intent"])], str(row["intent"]), canonical(row.get("slots") or []))
        for row in rows
        if (text := normalise(str(row[column] or ""))) and str(row["intent"]) in domain_of
    ]


def _label_accuracy(candidates: Sequence[Candidate], rows: Sequence[Mapping[str, Any]], column: str) -> float:
    """Share of the candidates whose intent is the right one of most of their recordings: the noise of the labels."""
    right: dict[str, Counter[str]] = {}
    for row in rows:
        right.setdefault(normalise(str(row[column] or "")), Counter())[str(row["intent"])] += 1
    hits = [right[c.utterance.text].most_common(1)[0][0] == c.utterance.intent for c in candidates]
    return float(np.mean(hits)) if hits else float("nan")


def _run_seed(
    world: World, wanted: Sequence[tuple[str, float]], settings: Settings, seed: int, end: float | None
) -> Iterator[dict[str, Any]]:
    """Cells of one seed; a strategy scores once for all its budgets."""
    scores: dict[str, np.ndarray] = {}
    explained: dict[bool, Influence] = {}
    tail = tail_rows([u.intent for u in world.judged])
    for strategy, budget in wanted:
        if end is not None and time.monotonic() > end:
            return
        start = time.monotonic()
        picked = []
        if strategy != NOTHING:
            if strategy not in scores:
                scores[strategy] = _scores(world, strategy, explained)
            options = _options(strategy, seed)
            picks = pick(world.candidates, scores[strategy], max(1, round(budget * world.train_rows)), options)
            picked = [world.candidates[p.row].utterance for p in picks]
        judged = nlu_evaluation.judge(retrained(world, picked, settings.steps, seed), world.judged)
        yield {
            "seed": seed,
            "strategy": strategy,
            "budget": budget,
            "added": len(picked),
            "semer_all": semer(judged.errors, judged.units),
            "semer_tail": semer(judged.errors[tail], judged.units[tail]),
            "intent_accuracy": accuracy([u.intent for u in judged.rows], [r.intent for r in judged.readings]),
            "candidates": len(world.candidates),
            "label_accuracy": world.label_accuracy,
            "judged": len(judged.rows),
            "seconds": round(time.monotonic() - start, 2),
        }


def _scores(world: World, strategy: str, explained: dict[bool, Influence]) -> np.ndarray:
    """Ablations are ours with one option of the scene changed; mistakes are explained once, with slots and without."""
    if strategy != OURS and strategy not in ABLATIONS:
        return STRATEGIES[strategy](world.scene, world.candidates)
    changed = ABLATIONS.get(strategy, {})
    scene = replace(world.scene, **{k: v for k, v in changed.items() if k in SCENE_OPTIONS})
    if scene.slots not in explained:
        explained[scene.slots] = Influence.of(explain_mistakes(scene)[0], scene.fewest_mistakes)
    return importance_of(scene, world.candidates, explained[scene.slots])


def _options(strategy: str, seed: int) -> Options:
    """Quotas and near-duplicate removal are the same for all strategies, but for the ablations of them."""
    changed = {k: v for k, v in ABLATIONS.get(strategy, {}).items() if k not in SCENE_OPTIONS}
    return Options(**{"seed": seed, **changed})


def retrained(world: World, picked: Sequence[Utterance], steps: int, seed: int) -> Nlu:
    """The base model after a few steps with what was picked."""
    model = copy.deepcopy(world.model)
    new = min(8, -(-MOST_REPEATS * len(picked) // steps))
    fresh = Prepared.of(picked, model.labels) if picked else None
    warm_train(model, world.rehearsal, fresh, WarmConfig(steps=steps, new=max(new, 1), seed=seed))
    return model
