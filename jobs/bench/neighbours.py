"""`reprise bench neighbours`: does an index find what scanning every text finds, and how fast?"""

from pathlib import Path
from typing import Annotated, Any

import typer

_LINE = "{:>9} {:16s} {:>9} {:>7} {:>9} {:>9} {:>9} {:>8} {:>7} {:>7}"
_TITLES = ("texts", "system", "recall@k", "P@1", "ms/query", "p95 ms", "cpu ms", "built s", "B/text", "RSS B")


def neighbours(
    sizes: Annotated[str, typer.Option(help="Texts in the space, comma-separated.")] = "14000,100000,1000000",
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Parquet of misheard queries: recognised, and spoken or text; default the demo's recordings."
        ),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Misheard queries drawn from the pairs.")] = 300,
    k: Annotated[int, typer.Option(min=1, help="Neighbours asked for.")] = 30,
    views_limit: Annotated[int, typer.Option(min=0, help="Largest space that is scanned in every view too.")] = 100_000,
    gpu: Annotated[bool, typer.Option(help="Keep the index on a CUDA device (needs faiss-gpu).")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of FAISS.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the queries drawn and the texts generated.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Where to write the rows.")] = None,
) -> None:
    """Recall of the meant text, time, build time and memory of scans and of the index, on the same misheard queries.

    The meant texts stand among texts of the demo's grammar. Needs the extra `retrieval`.
    """
    from jobs.bench import neighbours_runs

    wanted = neighbours_runs.Settings(_numbers(sizes), pairs, queries, k, views_limit, gpu, threads, seed)
    rows: list[dict[str, Any]] = []
    typer.echo(_LINE.format(*_TITLES))
    for row in neighbours_runs.rows(wanted):
        typer.echo(line(row))
        rows.append(row)
    if json is not None:
        import json as writer

        report = {"machine": neighbours_runs.machine(wanted), "rows": rows}
        json.write_text(writer.dumps(report, indent=1) + "\n")


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    times = (f"{row[name]:.2f}" for name in ("ms_per_query", "p95_ms", "cpu_ms_per_query"))
    return _LINE.format(
        row["texts"],
        row["system"],
        f"{row['recall']:.3f}",
        f"{row['p_at_1']:.3f}",
        *times,
        f"{row['build_s']:.1f}",
        f"{row['index_bytes_per_text']:.0f}",
        f"{row['resident_bytes_per_text']:.0f}",
    )


def _numbers(listed: str) -> list[int]:
    try:
        found = [int(part) for part in listed.split(",")]
    except ValueError as error:
        raise ValueError(f"expected whole numbers with commas between, got {listed!r}") from error
    if min(found) < 1:
        raise ValueError(f"expected sizes of at least one text, got {listed!r}")
    return found
