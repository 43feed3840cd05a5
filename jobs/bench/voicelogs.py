"""The whole loop on voice logs with known truth: `reprise bench quality --voicelogs DIR`."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from jobs.bench.settled import Settled
    from jobs.evaluation import Evaluation
    from jobs.learn import LearnConfig

POINTS = 100
"""Of a curve, at most."""


@dataclass(frozen=True)
class Done:
    """What need not be made again: a run of `reprise mine` over the history, a bundle learned from it."""

    mined: Path | None = None
    bundle: Path | None = None


def measure_voicelogs(
    folder: Path, work: Path | None, min_users: int, learning: "LearnConfig", done: Done = Done()
) -> dict[str, Any]:
    """Mine history.parquet, learn, rewrite future.parquet, and score it, ours first, then every reference.

    Args:
        folder: holds history.parquet, future.parquet, future_truth.parquet and oracle.parquet; or logs.parquet,
            truth.parquet and oracle.parquet as `reprise simulate` writes them, of which the first three weeks are
            history.
        work: where run, bundle and decisions stay; what lies there of the same log and settings is used again. None
            throws them away.
        min_users: the global space's floor, where mining is not done already.

    Raises:
        FileNotFoundError: one of the files is missing. ValueError: a bundle in `work` is of other settings.
    """
    from jobs import evaluate, rewrite
    from jobs.bench.personal import personal_precision
    from jobs.bench.settled import settle
    from jobs.evaluation import as_json
    from jobs.threads import default_workers

    with ExitStack() as stack:
        out = work if work is not None else Path(stack.enter_context(TemporaryDirectory()))
        history, future, truth, oracle = _files(folder, out)
        mined, bundle = _made(history, out, min_users, learning, done)
        decisions = out / "decisions.parquet"
        rewrite.run(future, bundle, decisions, workers=default_workers())
        alone = evaluate.without_session(future, bundle, out / "alone.parquet")
        settled = settle(mined, _queries(future), learning.seed)
        config = evaluate.EvaluateConfig(
            turns=future, truth=truth, decisions=decisions, oracle=oracle, mined=mined, seed=learning.seed
        )
        evaluation = evaluate.run(config, alone, {name: found.acting for name, found in settled.items()})
        evaluate.print_table(evaluation)
        personal = personal_precision(future, truth, oracle, mined, decisions)
        show(settled, personal)
        manifest = json.loads((mined / "manifest.json").read_text())
        return {
            "min_users": manifest.get("config", {}).get("min_users"),
            "personal": personal,
            "operating_points": {name: _plain(asdict(found.point)) for name, found in settled.items()},
            "curves": curves(evaluation, settled, future, truth, oracle),
            **as_json(evaluation),
        }


def _files(folder: Path, out: Path) -> tuple[Path, ...]:
    """History, future, the future's truth and the oracle; a log in one piece is split into `out`."""
    from jobs.run_demo import split

    paths = tuple(folder / f"{name}.parquet" for name in ("history", "future", "future_truth", "oracle"))
    if (folder / "logs.parquet").is_file() and not paths[0].is_file():
        split(folder, out)
        halves = (out / f"{name}.parquet" for name in ("history", "future"))
        paths = (*halves, folder / "truth.parquet", folder / "oracle.parquet")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"no {path.name} in {folder}; expected {', '.join(p.name for p in paths)}")
    return paths


def _made(history: Path, out: Path, min_users: int, learning: "LearnConfig", done: Done) -> tuple[Path, Path]:
    """The mined run and the bundle, made with the commands' defaults where they are not there already."""
    from jobs import learn, mine
    from mining.config import MineConfig

    mined = done.mined or out / "mined"
    if done.mined is None:
        mine.run([history], mined, MineConfig(min_users=min_users))
    if done.bundle is not None:
        return mined, done.bundle
    if not (out / "bundle").exists():
        learn.run(mined, out / "bundle", learning)
    elif not _learned(out / "bundle", mined, learning):
        raise ValueError(
            f"{out / 'bundle'} was learned from another log or with other settings; choose another --work, remove it, "
            "or name it with --bundle to measure it all the same"
        )
    return mined, out / "bundle"


def _learned(bundle: Path, mined: Path, learning: "LearnConfig") -> bool:
    """Whether this bundle is what learning would give; the number of threads does not matter."""
    made, run = (json.loads((folder / "manifest.json").read_text()) for folder in (bundle, mined))
    asked = json.loads(json.dumps(asdict(learning)))
    settings = made.get("config", {}) | {"threads": asked["threads"]}
    return bool(settings == asked and made.get("data_window") == run["window"])


def _queries(turns: Path) -> list[str]:
    from jobs.turns import read_log
    from rewrite.text import normalise

    return [normalise(text or "") for text in read_log(turns)["utterance"].to_pylist()]


def curves(
    evaluation: "Evaluation", settled: Mapping[str, "Settled"], turns: Path, truth: Path, oracle: Path
) -> dict[str, list[tuple[float, float]]]:
    """(trigger rate, precision) of every system as its confidence falls; of a settled one beyond its threshold, too."""
    from jobs.evaluation import evaluate_answers
    from jobs.references import nothing
    from jobs.truth import read_oracle, read_truth
    from jobs.turns import read_log

    log, ids = read_log(turns), list(evaluation.interaction_ids)
    found = {name: one.found for name, one in settled.items()}
    idle = nothing(evaluation.queries)
    beyond = evaluate_answers(log, read_truth(truth, ids), read_oracle(oracle), idle, found, draws=1).systems[1:]
    systems = {system.name: system for system in (*evaluation.systems, *beyond)}
    return {name: _curve(system) for name, system in systems.items()}


def _curve(system: Any) -> list[tuple[float, float]]:
    import numpy as np

    from jobs import metrics

    trigger, precision = metrics.curve(system.outcomes, system.answers.confidence)
    rows = np.unique(np.linspace(0, len(trigger) - 1, min(POINTS, len(trigger))).astype(int)).tolist()
    return [(float(trigger[row]), float(precision[row])) for row in rows]


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    from math import isfinite

    return {name: value if isfinite(value) else None for name, value in values.items()}


def show(settled: Mapping[str, "Settled"], personal: Sequence[Mapping[str, Any]]) -> None:
    """Say from where the references act, and what the personal path gains over the nearest own text."""
    points = ", ".join(f"{name} {found.point.threshold:.3g}" for name, found in settled.items())
    typer.echo(f"confidence from which a reference acts, at the harm allowed on held-back turns: {points}")
    for row in personal:
        if row["relative_gain"] is not None:
            typer.echo(
                "personal path, confidence {least_confidence} or more: precision {precision:.3f} over {rewrites} "
                "rewrites; the nearest own text {precision_of_nearest_own:.3f} over as many ({relative_gain:+.1%}); "
                "harm {harm:.4f} and {harm_of_nearest_own:.4f}".format(**row)
            )
