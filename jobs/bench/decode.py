"""`reprise bench decode`: is constrained search exact, and how fast against the usual ways?"""

import json as writer
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jobs.bench.decode_runs import Settings

SYSTEMS = ("ours", "dict", "marisa", "csr", "static", "free", "step")
CELL = ("size", "batch", "k", "key")
"""What tells a row from the others of its file."""


def decode(
    texts: Annotated[
        Path | None,
        typer.Option(help="Texts of the tries, one a line, or parquet with a column text; else the grammar's."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A trained generator's folder; without it random weights, which prove little.")
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="Where to write the rows; what a file of the same settings holds is kept and not run again."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw them (.png or .svg).")] = None,
    sizes: Annotated[str, typer.Option(help="Texts per trie; beyond the file's the grammar adds more.")] = (
        "10,100,1000,14000,1000000"
    ),
    batches: Annotated[str, typer.Option(help="Queries per call.")] = "1,8,32",
    ks: Annotated[str, typer.Option(help="Members asked for.")] = "1,4",
    systems: Annotated[str, typer.Option(help="Which to measure: " + ", ".join(SYSTEMS))] = ",".join(SYSTEMS[:-1]),
    queries: Annotated[int, typer.Option(min=1, help="Queries per row, rounded up to whole batches.")] = 16,
    edits: Annotated[int, typer.Option(min=0, help="Characters wrong in a query, at most.")] = 3,
    beams: Annotated[int, typer.Option(min=1, help="Width of the rivals' beams.")] = 4,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dict_limit: Annotated[int, typer.Option(help="Largest trie built of nested dicts, which take 2 kB a text.")] = (
        1_000_000
    ),
    seed: Annotated[int, typer.Option(help="Of the texts chosen and the errors made.")] = 0,
) -> None:
    """Measure constrained search against generate with a constraint, a CSR mask, and no constraint at all.

    Every system answers the same queries with the same model in one process, taking turns batch by batch.
    """
    from jobs.bench import decode_runs

    wanted = decode_runs.Settings(
        texts, model, _numbers(sizes), _numbers(batches), _numbers(ks), systems.split(","), queries, edits, beams,
        threads, device, dict_limit, seed,
    )  # fmt: skip
    unknown = set(wanted.systems) - set(SYSTEMS)
    if unknown:
        raise ValueError(f"unknown systems {sorted(unknown)}; expected some of {', '.join(SYSTEMS)}")
    report = measure(wanted, json)
    if plot is not None:
        decode_runs.draw(report, plot)


def measure(wanted: "Settings", path: Path | None = None) -> dict[str, Any]:
    """Run what `path` does not hold yet, printing and writing every row as it comes."""
    from jobs.bench import decode_goals, decode_runs

    report = _begun(path, decode_runs.machine(wanted))
    rows = report["rows"]
    typer.echo(decode_runs.HEADER)
    for row in decode_runs.rows(wanted, {tuple(row[name] for name in CELL) for row in rows}):
        typer.echo(decode_runs.line(row))
        rows.append(row)
        report["goals"] = decode_goals.goals(rows, wanted.device == "cpu")
        if path is not None:
            path.write_text(writer.dumps(report, indent=1) + "\n")
    for goal in report["goals"]:
        typer.echo(decode_goals.line(goal))
    return report


def _begun(path: Path | None, machine: dict[str, Any]) -> dict[str, Any]:
    """The report so far, empty where there is none.

    Raises:
        ValueError: it was measured under other settings.
    """
    if path is None or not path.exists():
        return {"machine": machine, "rows": [], "goals": []}
    begun: dict[str, Any] = writer.loads(path.read_text())
    differs = [name for name, value in machine.items() if begun["machine"].get(name) != value]
    if differs:
        name = differs[0]
        raise ValueError(
            f"{path} was measured with {name} {begun['machine'].get(name)!r}, now {machine[name]!r}; rows of different "
            "settings do not belong in one file, choose another"
        )
    return begun


def _numbers(listed: str) -> list[int]:
    try:
        return [int(part) for part in listed.split(",")]
    except ValueError as error:
        raise ValueError(f"expected whole numbers with commas between, got {listed!r}") from error
