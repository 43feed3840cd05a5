"""`reprise rewrite`: batch decisions for a file of turns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.threads import default_threads

if TYPE_CHECKING:
    from rewrite.decision import Decision
    from rewrite.turn import Turn


def rewrite(
    turns: Annotated[Path, typer.Argument(help="Parquet or JSON lines with the log's decision-time columns.")],
    bundle: Annotated[Path, typer.Option(help="Bundle to decide with.")],
    out: Annotated[Path, typer.Option(help="Decisions to write, parquet.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
) -> None:
    """Decide for every turn whether, and to what, to rewrite it."""
    made = run(turns, bundle, out, threads)
    typer.echo(f"{sum(d.text is not None for d in made)} of {len(made)} turns rewritten; decisions in {out}")


def run(turns: Path, bundle: Path, out: Path, threads: int = 1) -> list["Decision"]:
    """Decide every turn of a log and write one row each: interaction_id, rewrite, source, confidence, reason."""
    import torch

    from jobs.progress import track
    from jobs.turns import read_log, turns_of
    from rewrite import Rewriter

    logged = turns_of(read_log(turns))
    torch.set_num_threads(threads)
    rewriter = Rewriter.load(bundle)
    made = [rewriter.rewrite_turn(turn) for turn in track(logged, "rewrite")]
    write(logged, made, out)
    return made


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
