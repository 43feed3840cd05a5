"""`reprise demo`: the whole loop on the bundled logs: mine three weeks, learn, rewrite the week after, report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.threads import default_threads, default_workers

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.evaluation import Evaluation

DATA = Path(__file__).parent / "demo"
HISTORY_DAYS = 21
MIN_USERS = 3
"""The demo's logs are small: a text is global once it worked for three users, not five as by default."""

SHOWN = 5
"""Rewrites printed at the end."""


STEPS = 100
"""Training steps of 64 pairs from the base model, which knows the demo's voices already."""

MOST_RESCORED = 1200
"""Held-back turns that the demo's decision is fitted on: enough for its log, and quick."""


@dataclass(frozen=True)
class DemoConfig:
    """Where the demo reads and writes; `steps` of training, `threads` of the model."""

    logs: Path
    out: Path
    steps: int
    seed: int = 0
    threads: int = 1


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; what an earlier demo left there is replaced.")] = Path(
        "out/demo"
    ),
    logs: Annotated[Path, typer.Option(help="Folder with logs.parquet, truth.parquet and oracle.parquet.")] = DATA,
    steps: Annotated[int, typer.Option(min=0, help="Training steps of the generator; 0: no generator.")] = STEPS,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
) -> None:
    """Run the whole loop on the bundled demo logs, ending in a report."""
    started = time.monotonic()
    evaluation = run(DemoConfig(logs, out, steps, seed, threads))
    _sum_up(evaluation, out)
    typer.echo(f"\nreport  {out / 'report.html'}")
    typer.echo(f"done in {time.monotonic() - started:.0f} s")


def run(config: DemoConfig) -> "Evaluation":
    """Every step of the loop through the jobs' own functions; returns the evaluation of the last week."""
    from jobs import evaluate, learn, mine, rewrite
    from mining.config import MineConfig

    out = config.out
    _clear(out)
    with _step("split: three weeks to learn from, one to rewrite"):
        split(config.logs, out)
    with _step("mine: sessions, defects, reformulations, spaces"):
        mine.run([out / "history.parquet"], out / "mined", MineConfig(min_users=MIN_USERS), memory="2g", cores=2)
        _stop_spark()
    with _step("learn: train, calibrate on held-back history, pack"):
        learning = learn.LearnConfig(
            steps=config.steps, seed=config.seed, threads=config.threads, most_rescored=MOST_RESCORED
        )
        learn.run(out / "mined", out / "bundle", learning)
    with _step("rewrite: decide every turn of the last week"):
        rewrite.run(out / "future.parquet", out / "bundle", out / "decisions.parquet", workers=default_workers())
    with _step("once more, each turn as if nothing had been said before it"):
        alone = evaluate.without_session(out / "future.parquet", out / "bundle", out / "alone.parquet")
    with _step("evaluate: against what the users wanted"):
        return evaluate.run(
            evaluate.EvaluateConfig(
                turns=out / "future.parquet",
                truth=config.logs / "truth.parquet",
                bundle=out / "bundle",
                decisions=out / "decisions.parquet",
                oracle=config.logs / "oracle.parquet",
                mined=out / "mined",
                json_out=out / "evaluation.json",
                html_out=out / "report.html",
                seed=config.seed,
            ),
            alone,
        )


def split(logs: Path, out: Path) -> None:
    """Write history.parquet, the first HISTORY_DAYS days, and future.parquet, the rest without its outcomes.

    Raises:
        FileNotFoundError: `logs` holds no logs.parquet. ValueError: the log does not outlast the history.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not (logs / "logs.parquet").is_file():
        raise FileNotFoundError(
            f"no demo logs; got {logs}; expected a folder with logs.parquet; an incomplete checkout?"
        )
    table = pq.read_table(logs / "logs.parquet")
    first = pc.min(table["timestamp"]).as_py().replace(hour=0, minute=0, second=0, microsecond=0)
    since = pa.scalar(first + timedelta(days=HISTORY_DAYS), table["timestamp"].type)
    history, future = (table.filter(compare(table["timestamp"], since)) for compare in (pc.less, pc.greater_equal))
    if future.num_rows == 0:
        raise ValueError(
            f"nothing to rewrite; got {logs / 'logs.parquet'} of at most {HISTORY_DAYS} days; expected more"
        )
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(history, out / "history.parquet")
    pq.write_table(_decision_time(future), out / "future.parquet")


def _decision_time(turns: "pa.Table") -> "pa.Table":
    """The columns known when a rewrite is decided: how the turn went is not among them."""
    from jobs.turns import DECISION_COLUMNS

    return turns.select([name for name in DECISION_COLUMNS if name in turns.column_names])


def _stop_spark() -> None:
    """End the session that mining left open, so that training has both cores and the memory to itself."""
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()


def _clear(out: Path) -> None:
    """Remove what an earlier demo left; nothing else in the folder is touched."""
    import shutil

    for name in ("mined", "bundle", ".bundle.checkpoints"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (
        "history.parquet",
        "future.parquet",
        "decisions.parquet",
        "alone.parquet",
        "evaluation.json",
        "report.html",
    ):
        (out / name).unlink(missing_ok=True)


@contextmanager
def _step(title: str) -> Iterator[None]:
    typer.echo(f"▸ {title}")
    started = time.monotonic()
    yield
    typer.echo(f"  {time.monotonic() - started:.1f} s")


def _sum_up(evaluation: "Evaluation", out: Path) -> None:
    """Print a few rewrites that cured a turn, with the reason, then the table."""
    import numpy as np

    from jobs.evaluate import print_table
    from jobs.report.evidence import evidence
    from jobs.report.report import top_rewrites
    from rewrite.text import normalise

    ours = evaluation.ours
    rows = np.flatnonzero(ours.outcomes.rewritten).tolist()
    pairs = {(normalise(evaluation.queries[row]), ours.answers.rewrites[row] or "") for row in rows}
    typer.echo("\nSome of the rewrites, and why:")
    for r in [t for t in top_rewrites(evaluation, evidence(out / "mined", pairs)) if t.fixed][:SHOWN]:
        typer.echo(f"  {r.source!r} → {r.target!r}\n    cured {r.fixed} of {r.turns} turns; {r.evidence}")
    typer.echo("\nSome that only the session explains:")
    for earlier, source, target in explained_by_session(evaluation, out / "future.parquet")[:SHOWN]:
        typer.echo(f"  after {', '.join(map(repr, earlier))}: {source!r} → {target!r}")
    typer.echo("")
    print_table(evaluation)


def explained_by_session(evaluation: "Evaluation", turns: Path) -> list[tuple[tuple[str, ...], str, str]]:
    """Turns that were cured, and would not have been as their sessions' first: earlier texts, text and rewrite. One for
    each text, those that occur most often first.
    """
    from collections import Counter

    import numpy as np

    from jobs.evaluation import ALONE
    from jobs.turns import read_log, turns_of
    from rewrite.text import normalise

    alone = next((system for system in evaluation.systems if system.name == ALONE), None)
    if alone is None:
        return []
    logged, made = turns_of(read_log(turns)), evaluation.ours.answers.rewrites
    rows = np.flatnonzero(evaluation.ours.outcomes.fixed & ~alone.outcomes.fixed).tolist()
    found: dict[str, tuple[tuple[str, ...], str, str]] = {}
    counts: Counter[str] = Counter()
    for row in (row for row in rows if logged[row].turns):
        query = normalise(evaluation.queries[row])
        counts[query] += 1
        found.setdefault(query, (logged[row].turns, query, made[row] or ""))
    return [found[query] for query, _ in counts.most_common()]
