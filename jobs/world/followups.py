"""Labelled follow-ups of simulated users, in the form that `reprise bench corrections` reads.

`python -m jobs.world.followups PAIRS`: the simulator knows why each user spoke again.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.faults import run_alone

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.world.simulator import Turn

SESSION_GAP_S = 1800.0
"""Longest gap between two requests that make a pair, seconds."""


def pairs_table(turns: "Sequence[Turn]") -> "pa.Table":
    """A row for any two adjacent requests of a session, user by user in order of time."""
    import pyarrow as pa

    ordered = sorted(turns, key=lambda turn: (turn.asked.user_id, turn.asked.seconds))
    rows = [_row(a, b) for a, b in pairwise(ordered) if a.asked.user_id == b.asked.user_id]
    kinds = (pa.string(), pa.string(), pa.string(), pa.bool_(), pa.float64(), pa.string())
    schema = pa.schema(list(zip(("first", "response", "second", "executed", "gap_s", "label"), kinds, strict=True)))
    return pa.Table.from_pylist([row for row in rows if row["gap_s"] <= SESSION_GAP_S], schema)


def _row(turn: "Turn", then: "Turn") -> dict[str, Any]:
    from jobs.world.tables import response

    return {
        "first": turn.asked.utterance,
        "response": response(turn),
        "second": then.asked.utterance,
        "executed": turn.status == "ok",
        "gap_s": then.asked.seconds - turn.asked.seconds,
        "label": label(turn, then),
    }


def label(turn: "Turn", then: "Turn") -> str:
    """Why the user spoke again: misheard and said again, or put in other words or merely repeated, or something new.

    Who was misheard twice alike has repeated the request, as far as anybody can see who reads the log.
    """
    if then.reformulates is not turn:
        return "new_command"
    misheard = turn.asked.utterance != turn.intended and then.intended == turn.intended
    return "asr_correction" if misheard and then.asked.utterance != turn.asked.utterance else "command_correction"


def followups(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    users: Annotated[int, typer.Option(min=1, help="Users; each makes about 4 turns a day.")] = 400,
    days: Annotated[int, typer.Option(min=1, help="Length in days.")] = 28,
    seed: Annotated[int, typer.Option(help="Seed: the same seed gives the same pairs.")] = 20260301,
) -> None:
    """Simulate users and write their labelled follow-ups."""
    import numpy as np
    import pyarrow.parquet as pq

    from jobs.simulate import DEMO
    from jobs.world.grammar import spoken_catalogue
    from jobs.world.simulator import Settings, simulate
    from jobs.world.speak import CATALOGUE_SEED

    catalogue = spoken_catalogue(np.random.default_rng(CATALOGUE_SEED))
    settings = Settings(users=users, days=days, fresh_day=days - days // 4)
    recognitions = pq.read_table(DEMO / "recognitions.parquet")
    table = pairs_table(simulate(catalogue, recognitions, settings, np.random.default_rng(seed)))
    pq.write_table(table, out)
    typer.echo(f"{len(table)} pairs of {users} users over {days} days in {out} (seed {seed})")


if __name__ == "__main__":
    run_alone(followups)
