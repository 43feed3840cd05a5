"""`reprise rewrite`: batch decisions for a file of turns."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.threads import default_workers

if TYPE_CHECKING:
    from rewrite import Rewriter
    from rewrite.decision import Decision
    from rewrite.turn import Turn

CHUNK = 100
"""Turns that a worker takes at a time."""


def rewrite(
    turns: Annotated[Path, typer.Argument(help="Parquet or JSON lines with the log's decision-time columns.")],
    bundle: Annotated[Path, typer.Option(help="Bundle to decide with.")],
    out: Annotated[Path, typer.Option(help="Decisions to write, parquet.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes that decide side by side.")] = default_workers(),
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model in each of them.")] = 1,
    alone: Annotated[
        bool,
        typer.Option("--alone", help="As if each turn were its session's first, to see what the session is worth."),
    ] = False,
) -> None:
    """Decide for every turn whether, and to what, to rewrite it."""
    made = run(turns, bundle, out, threads, workers, alone)
    typer.echo(f"{sum(d.text is not None for d in made)} of {len(made)} turns rewritten; decisions in {out}")


def run(
    turns: Path, bundle: Path, out: Path, threads: int = 1, workers: int = 1, alone: bool = False
) -> list["Decision"]:
    """Decide every turn of a log and write one row each: interaction_id, rewrite, source, confidence, reason.

    No decision depends on another, so the number of workers changes nothing but the time.

    Args:
        alone: leave out what the session said before each turn.

    Returns:
        The decisions, without their candidates.
    """
    from jobs.progress import progress
    from jobs.turns import read_log, turns_of
    from rewrite.bundle import check_kind

    if out.is_dir():
        raise ValueError(f"--out is a folder; got {out}; expected a parquet file to write; a name left out?")
    check_kind(bundle)
    logged = turns_of(read_log(turns))
    if alone:
        logged = [replace(turn, turns=(), gap_s=None) for turn in logged]
    chunks = [logged[start : start + CHUNK] for start in range(0, len(logged), CHUNK)]
    made: list[Decision] = []
    with progress("rewrite", len(logged)) as advance, _mapper(bundle, threads, min(workers, len(chunks))) as each:
        for decided in each(chunks):
            made += decided
            advance(len(decided))
    write(logged, made, out)
    return made


@contextmanager
def _mapper(
    bundle: Path, threads: int, workers: int
) -> "Iterator[Callable[[list[list[Turn]]], Iterator[list[Decision]]]]":
    """Decides chunks in order: here, or in processes that open the bundle themselves (its files are shared)."""
    if workers <= 1:
        _open(bundle, threads)
        yield lambda chunks: map(_decide, chunks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from rewrite.bundle import verify

    verify(bundle)  # so that a corrupt bundle is one clear error, not one of each worker
    # spawned, not forked: a fork of a process that has used torch's threads may hang
    with ProcessPoolExecutor(workers, get_context("spawn"), _open, (bundle, threads)) as pool:

        def each(chunks: "list[list[Turn]]") -> "Iterator[list[Decision]]":
            with _ctrl_c_ignored():
                return pool.map(_decide, chunks)

        try:
            yield each
        except BaseException:
            pool.shutdown(cancel_futures=True)  # waits for the chunks in hand only
            raise


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Workers that start meanwhile never hear of Ctrl-C: one that dies of it in the midst of a message hangs all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_opened: "list[Rewriter]" = []
"""The bundle of this process."""


def _open(bundle: Path, threads: int) -> None:
    import torch

    from rewrite import Rewriter

    torch.set_num_threads(threads)
    _opened[:] = [Rewriter.load(bundle)]


def _decide(turns: "list[Turn]") -> "list[Decision]":
    return [replace(_opened[0].rewrite_turn(turn), candidates=()) for turn in turns]


def write(turns: "list[Turn]", decisions: "list[Decision]", out: Path) -> None:
    """Write decisions as parquet, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "interaction_id": pa.array([t.interaction_id for t in turns], pa.string()),
            "rewrite": pa.array([d.text for d in decisions], pa.string()),
            "source": pa.array([d.source for d in decisions], pa.string()),
            "confidence": pa.array([d.confidence for d in decisions], pa.float64()),
            "reason": pa.array([d.reason for d in decisions], pa.string()),
        }
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    pq.write_table(table, part)
    part.replace(out)
