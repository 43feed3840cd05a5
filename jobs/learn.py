"""`reprise learn`: mined tables in, a bundle out: train the generator, fit the decision, pack."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.base import BASE
from jobs.progress import quiet
from jobs.threads import default_threads
from rewrite.guards import Guards

if TYPE_CHECKING:
    import pyarrow as pa

    from rewrite.classifier import Classifier
    from rewrite.fitting import Fit
    from rewrite.generator import Generator
    from rewrite.rewriter import Scorer
    from rewrite.spaces import Knowledge
    from rewrite.ties import Ties
    from rewrite.training import TrainingConfig

_TABLES = ("reformulations", "utterances", "rewrites", "text_outcomes", "personal", "personal_rewrites")


@dataclass(frozen=True)
class LearnConfig:
    """What `learn` is told.

    `model` is where the generator starts: "base", the model that ships; "scratch", random weights; a path or a hub
    name; None does without a generator, or starts from the base if there are steps. `steps` of training
    follow, 0 for none.
    """

    steps: int = 0
    model: str | None = None
    harm: float = 0.002
    seed: int = 0
    threads: int = 1
    most_rescored: int = 6000
    guards: Guards = field(default_factory=Guards)


def learn(
    mined: Annotated[Path, typer.Argument(help="Run directory of `reprise mine`.")],
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
    steps: Annotated[
        int, typer.Option(min=0, help="Training steps of 64 pairs, about 0.5 s each, from --model or the base.")
    ] = 0,
    model: Annotated[
        str, typer.Option(help="Where the generator starts: base, scratch, a path or a hub name; none does without.")
    ] = "none",
    harm: Annotated[float, typer.Option(min=0, max=1, help="Share of good turns that may be rewritten wrong.")] = 0.002,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
    allow_intent: Annotated[
        list[str] | None,
        typer.Option(help="Sensitive intent (calls, purchases, deletions…) to rewrite to all the same."),
    ] = None,
) -> None:
    """Train the generator, build the tries, calibrate the decision, and pack a bundle."""
    from jobs.progress import teller

    guards = Guards(allowed=tuple(allow_intent or ()))
    config = LearnConfig(steps, None if model == "none" else model, harm, seed, threads, guards=guards)
    bundle_id = run(mined, out, config, teller())
    typer.echo(f"bundle {bundle_id} written to {out}")


def run(mined: Path, out: Path, config: LearnConfig, say: Callable[[str], None] = quiet) -> str:
    """Learn a bundle; returns its id. Checkpoints lie beside `out` until the bundle is written.

    Args:
        say: told what is under way, in lines for people.

    Raises:
        FileNotFoundError: `mined` is no finished run. FileExistsError: `out` exists. ValueError: too little to learn
        from.
    """
    import shutil

    import structlog
    import torch

    from jobs.ties import fit_ties
    from rewrite.bundle import pack
    from rewrite.spaces import Knowledge, write_knowledge

    if out.exists():
        raise FileExistsError(
            f"{out} exists already and bundles are never changed in place; choose another --out or remove it"
        )
    say("reading the tables")
    history = History.read(mined)
    torch.set_num_threads(config.threads)
    log = structlog.get_logger("learn")
    log.info("learn starts", mined=str(mined), seed=config.seed, steps=config.steps)
    knowledge = Knowledge.from_tables(history.tables)
    if not knowledge.known:
        raise ValueError(
            f"{mined} has an empty global space: no text succeeded for enough distinct users; "
            "mine a longer log, or lower `reprise mine --min-users`"
        )
    checkpoints = out.parent / f".{out.name}.checkpoints"
    if _model(config) is not None:
        say(f"training the generator, {config.steps} steps" if config.steps else "loading the generator")
    generator = _generator(history, knowledge, config, checkpoints)
    say("learning what texts mean")
    scorer = scorer_then(history, generator, config.seed)
    say(f"fitting the decision on the turns held back since {history.since:%Y-%m-%d}")
    known_ties = fit_ties(history.turns, config.seed)
    fitted = fit_decision(history, knowledge, scorer, known_ties, config)
    # as the evidence does, what the bundle knows of texts goes up to the last day
    known_intents = _intents(history.turns, history.tables, config.seed)
    log.info("fitted on held-back history, out of fold", **{k: round(v, 4) for k, v in fitted.figures.items()})

    def write(folder: Path) -> None:
        write_knowledge(history.tables, folder)
        fitted.decider.save(folder / "decision")
        scorer.ngrams.save(folder / "decision")
        if known_intents is not None:
            known_intents.save(folder / "decision", "intents")
        if known_ties is not None:
            known_ties.save(folder / "decision")
        if generator is not None:
            generator.save(folder / "model")
            build_trie(generator, knowledge.texts).save(folder / "global" / "trie")
        (folder / "README.md").write_text(_card(history.manifest, config, fitted.figures, knowledge))

    facts = {
        "parents": [],
        "config": asdict(config),
        "data_window": history.manifest["window"],
        "figures": fitted.figures,
        "deletion_epoch": 0,
    }
    say("packing the bundle")
    bundle_id = pack(out, write, facts)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return bundle_id


@dataclass(frozen=True)
class History:
    """A mining run as learning reads it.

    Attributes:
        tables, past: of the whole log, and of the days before those that were held back.
        since: when these begin.
    """

    manifest: Mapping[str, Any]
    turns: "pa.Table"
    tables: dict[str, "pa.Table"]
    past: dict[str, "pa.Table"]
    since: datetime

    @classmethod
    def read(cls, mined: Path) -> "History":
        """Read a finished run.

        Raises:
            FileNotFoundError: it is none. ValueError: it held no turns back.
        """
        from jobs.sequels import sequels

        manifest = read_manifest(mined)
        since = datetime.fromisoformat(manifest["holdback_from"])
        found = cls(manifest, read_table(mined, "turns"), read_tables(mined), read_tables(mined / "past"), since)
        least = manifest.get("config", {}).get("pair_users", 2)
        found.tables["sequels"], found.past["sequels"] = sequels(found.turns, least), sequels(found.before, least)
        return found

    @cached_property
    def before(self) -> "pa.Table":
        """The turns before the held-back days."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return self.turns.filter(pc.less(self.turns["timestamp"], pa.scalar(self.since, self.turns["timestamp"].type)))


def scorer_then(history: History, generator: "Generator | None", seed: int) -> "Scorer":
    """What was known when the held-back days began."""
    from jobs.labels import intent_defect_rates
    from jobs.ties import fit_ties
    from rewrite.ngram_weights import NgramWeights
    from rewrite.numerals import said
    from rewrite.rewriter import Scorer
    from rewrite.spaces import Knowledge

    before, past = history.before, history.past
    knowledge = Knowledge.from_tables(past)
    trie = build_trie(generator, knowledge.texts) if generator is not None and knowledge.texts else None
    ngrams = NgramWeights.fit(map(said, knowledge.texts)).rounded
    intents, ties = _intents(before, past, seed), fit_ties(before, seed)
    return Scorer(knowledge, generator, trie, intents, intent_defect_rates(before), ngrams=ngrams, ties=ties)


def read_manifest(mined: Path) -> dict[str, Any]:
    """The manifest of a finished mining run that held turns back."""
    check_mined(mined)
    manifest: dict[str, Any] = json.loads((mined / "manifest.json").read_text())
    if manifest.get("holdback_from") is None:
        raise ValueError(f"{mined} holds no turns back, so nothing can be calibrated; mine again without --holdback 0")
    return manifest


def check_mined(mined: Path) -> None:
    """Say what was given instead of a finished mining run.

    Raises:
        FileNotFoundError: it is none.
    """
    if (mined / "_SUCCESS").exists():
        return
    cause = "it has no _SUCCESS; did its job end?"
    if mined.is_file():
        cause = f"it is a file; a log is mined first: `reprise mine {mined} --out MINED`"
    elif not mined.exists():
        cause = "nothing is there; a typing slip?"
    elif (mined / "decision").is_dir():
        cause = "it is a bundle; were two arguments swapped?"
    raise FileNotFoundError(f"{mined} is no finished run of `reprise mine`: {cause}")


def read_table(folder: Path, name: str) -> "pa.Table":
    """One of mining's tables.

    Raises:
        FileNotFoundError: it is not there.
    """
    import pyarrow.parquet as pq

    if not (folder / name).is_dir():
        raise FileNotFoundError(
            f"no table {name}; got {folder}; expected the folder that `reprise mine` wrote; a typing slip?"
        )
    return pq.read_table(folder / name)


def read_tables(folder: Path) -> dict[str, "pa.Table"]:
    """The tables that decisions draw on; of the reformulations those that say the same wish again, in other words."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = {name: read_table(folder, name) for name in _TABLES}
    kinds = pa.array(["correction", "rewording"])
    tables["reformulations"] = tables["reformulations"].filter(pc.is_in(tables["reformulations"]["kind"], kinds))
    tables["rewrites"] = with_proven(tables["rewrites"], read_table(folder, "rewrite_outcomes"))
    return tables


def with_proven(rewrites: "pa.Table", outcomes: "pa.Table") -> "pa.Table":
    """Mined pairs, and those which the holdout has proven: once a pair is made for everybody, nobody corrects
    themselves any more, and its reformulations leave the window.
    """
    import pyarrow as pa

    mined = set(zip(rewrites["source"].to_pylist(), rewrites["target"].to_pylist(), strict=True))
    proven = [
        {
            "source": r["source"],
            "target": r["target"],
            "reach": r["success_rate"],
            "success": r["success_rate"],
            "worth": r["success_rate"],
            "lower_bound": r["gain_lower"],
            "users": r["users"],
            "days": 0,
            "count": r["wins"],
            "source_count": r["turns"] + r["holdout_turns"],
            "source_defect_rate": 1 - r["holdout_success_rate"],
            "evidence_id": "",
            "rule": "holdout",
        }
        for r in outcomes.to_pylist()
        if r["verdict"] == "keep" and (r["source"], r["target"]) not in mined
    ]
    if not proven:
        return rewrites
    return pa.concat_tables([rewrites, pa.Table.from_pylist(proven, schema=rewrites.schema)])


def build_trie(generator: "Generator", texts: Sequence[str]) -> Any:
    """The texts as a trie in the generator's own ids."""
    from rewrite.trie import TokenTrie

    return TokenTrie.build([generator.vocabulary.target(text) for text in texts])


def _generator(history: History, knowledge: "Knowledge", config: LearnConfig, checkpoints: Path) -> "Generator | None":
    """Train on pairs from before the held-back window, and on queries synthesised for every text in force."""
    generator = _start(config)
    if generator is None or config.steps == 0:
        return generator
    import numpy as np

    from jobs.labels import pairs_with_context, texts_in_force
    from jobs.progress import progress
    from rewrite.noise import ErrorChannel
    from rewrite.training import Corpus, batches, train

    before, mined = history.before, history.past["reformulations"]
    known = set(zip(mined["source"].to_pylist(), mined["target"].to_pylist(), strict=True))
    pairs = pairs_with_context(before, known)
    texts = texts_in_force(knowledge)
    weights = np.array([math.sqrt(knowledge.known[t].users) if t in knowledge.known else 1.0 for t in texts])
    channel = ErrorChannel([(query, text) for query, text, _ in pairs], before["text"].to_pylist())
    training = _training(config)
    corpus = Corpus(pairs, np.ones(len(pairs)), texts, weights)
    with progress("train", config.steps) as advance:
        train(
            generator,
            lambda first: batches(corpus, channel, training, first),
            training,
            checkpoints,
            lambda step, loss: advance(note=f"loss {loss:.3f} nats a token"),
            corpus.id,
        )
    return generator


def _start(config: LearnConfig) -> "Generator | None":
    """The generator before any training; None where the config does without one."""
    from rewrite.generator import Generator, GeneratorConfig

    model = _model(config)
    if model is None:
        return None
    if model == "base" and BASE.exists():
        return Generator.load(BASE)
    if model in ("base", "scratch"):
        if not config.steps:
            raise ValueError("a generator from random weights needs training: got --steps 0; expected some thousands")
        return Generator.build(GeneratorConfig(), config.seed)
    return Generator.load(model)


def _model(config: LearnConfig) -> str | None:
    """Where the generator starts: the base model, if training is asked for and nothing else is named."""
    return "base" if config.model is None and config.steps else config.model


def _training(config: LearnConfig) -> "TrainingConfig":
    """From random weights: fast, and easy queries first. From a trained model: slower, and the real thing at once."""
    from rewrite.training import TrainingConfig

    if _model(config) == "scratch" or (_model(config) == "base" and not BASE.exists()):
        return TrainingConfig(steps=config.steps, seed=config.seed)
    return TrainingConfig(steps=config.steps, seed=config.seed, learning_rate=1e-3, light_share=0.05)


def _intents(turns: "pa.Table", tables: Mapping[str, "pa.Table"], seed: int) -> "Classifier | None":
    """What texts mean: those that succeeded as they were read, failed ones as what came after them."""
    from jobs.labels import meanings
    from jobs.sequels import sequels
    from rewrite.classifier import Classifier

    texts, intents, weights = meanings(turns, tables["reformulations"], sequels(turns, least_users=1))
    model = Classifier.fit(texts, intents, weights, seed)
    return None if model is None else model.rounded


def fit_decision(
    history: History, knowledge: "Knowledge", then: "Scorer", ties: "Ties | None", config: LearnConfig
) -> "Fit":
    """Fit on the held-back days, with what was known `then`; `knowledge` and `ties` are the whole history's."""
    from jobs.labels import judged_turns
    from jobs.progress import progress
    from rewrite.fitting import fit
    from rewrite.judged import FittingConfig

    with progress("fit: turns rescored") as advance:
        fitting = FittingConfig(
            harm_allowed=config.harm, most_rescored=config.most_rescored, seed=config.seed, guards=config.guards
        )
        judged = judged_turns(history.turns, history.since, knowledge, ties)
        return fit(judged, then, fitting, lambda done, of: advance(total=of))


def _card(
    manifest: Mapping[str, Any], config: LearnConfig, figures: Mapping[str, float], knowledge: "Knowledge"
) -> str:
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in sorted(figures.items()))
    return (
        "# Bundle\n\nWritten by `reprise learn`.\n\n"
        f"Log window: {manifest['window']['first']} to {manifest['window']['last']}; held back from "
        f"{manifest['holdback_from']}.\n"
        f"Global space: {len(knowledge.known)} texts. Training steps: {config.steps}, seed {config.seed}.\n\n"
        "Out-of-fold figures on the held-back turns, judged by the log's own signals:\n\n"
        f"| figure | value |\n|---|---|\n{rows}\n"
    )
