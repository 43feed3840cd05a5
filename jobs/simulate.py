"""`reprise simulate`: interaction logs of any size from the shipped recordings, with the truth beside them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.faults import run_alone

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.world.grammar import Request
    from jobs.world.simulator import Turn

DEMO = Path(__file__).parent / "demo"

ELLIPSES = 0.06
"""One turn in forty is then such that only the session explains it."""


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for logs.parquet, truth.parquet and oracle.parquet.")],
    users: Annotated[int, typer.Option(min=1, help="Users; each makes about 4 turns a day.")] = 400,
    days: Annotated[int, typer.Option(min=1, help="Length in days; the last quarter has new recordings.")] = 28,
    seed: Annotated[int, typer.Option(help="Seed: the same seed gives the same bytes.")] = 20260105,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace logs that are there already.")] = False,
    recognitions: Annotated[Path, typer.Option(help="Recordings written by `python -m jobs.world.recordings`.")] = DEMO
    / "recognitions.parquet",
    ellipses: Annotated[
        float,
        typer.Option(
            min=0, max=1, help='Share of fit successes after which a user leaves out what is plain ("play it again").'
        ),
    ] = ELLIPSES,
) -> None:
    """Simulate users of a voice assistant and write logs, truth and the readings of every text."""
    import numpy as np

    from jobs.world.grammar import spoken_catalogue
    from jobs.world.simulator import Settings
    from jobs.world.simulator import simulate as play
    from jobs.world.speak import CATALOGUE_SEED

    table = _read(recognitions)
    if (out / "logs.parquet").exists() and not overwrite:
        raise ValueError(f"{out / 'logs.parquet'} exists already; choose another folder, or --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(users=users, days=days, fresh_day=days - days // 4, ellipsis_rate=ellipses)
    catalogue = spoken_catalogue(np.random.default_rng(CATALOGUE_SEED))
    turns = play(catalogue, table, settings, np.random.default_rng(seed))
    _write(turns, catalogue, out)
    typer.echo(f"{len(turns)} turns of {users} users over {days} days in {out} (seed {seed})")


def _read(path: Path) -> "pa.Table":
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ValueError(f"no recordings at {path}: expected a parquet file from `python -m jobs.world.recordings`")
    return pq.read_table(path)


def _write(turns: "list[Turn]", catalogue: "dict[str, Request]", out: Path) -> None:
    from jobs.world import tables

    heard = {turn.asked.utterance for turn in turns} | {turn.intended for turn in turns}
    tables.write(tables.log_table(turns), out / "logs.parquet")
    tables.write(tables.truth_table(turns), out / "truth.parquet")
    tables.write(tables.oracle_table(heard | set(catalogue)), out / "oracle.parquet")


if __name__ == "__main__":
    run_alone(simulate)
