"""`reprise bench serve`: does the endpoint hold load, beside the same endpoint that calls `generate`?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.threads import default_threads


def serve(
    bundle: Annotated[Path, typer.Option(help="Bundle to serve.")],
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second.")] = 200.0,
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw latency against load (.png or .svg).")] = None,
    rates: Annotated[str, typer.Option(help="Further rates, with commas between: the curve, past saturation.")] = "",
    reference_rates: Annotated[
        str, typer.Option(help="Rates for the endpoint that calls generate; empty leaves it out.")
    ] = "1,2,4,8",
    seconds: Annotated[float, typer.Option(min=1, help="Length of each run.")] = 20.0,
    mix: Annotated[str, typer.Option(help="Shares of look-up hits, personal and global requests.")] = "0.4,0.3,0.3",
    fresh: Annotated[
        float, typer.Option(min=0, max=1, help="Of the personal and global requests, the share never asked before.")
    ] = 0.2,
    deadline_ms: Annotated[float, typer.Option(min=1, help="Of every request.")] = 250.0,
    model_wait_ms: Annotated[float, typer.Option(min=0, help="Longest wait for the generator; 0: no limit.")] = 40.0,
    places: Annotated[int, typer.Option(min=1, help="Turns in the works at once.")] = 64,
    workers: Annotated[int, typer.Option(min=0, help="Processes that decide.")] = default_threads(),
    threads: Annotated[int, typer.Option(min=1, help="Threads of the model in each.")] = 1,
    model_batch: Annotated[int, typer.Option(min=1, help="Turns that share a forward, at most.")] = 8,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Of what is asked and when.")] = 0,
) -> None:
    """Send requests at times fixed beforehand, and measure what comes back, below and beyond saturation.

    Latencies count from when a request was due, so a server that stalls cannot slow its own load down.
    """
    from jobs.bench import serve_runs

    settings = {
        "deadline_ms": deadline_ms, "model_wait_ms": model_wait_ms, "places": places, "workers": workers,
        "threads": threads, "model_batch": model_batch, "precision": precision,
    }  # fmt: skip
    shares = _numbers(mix)
    if len(shares) != 3 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"expected three shares that add up to 1, got {mix!r}")
    wanted = serve_runs.Settings(
        bundle, [*_numbers(rates), rate], _numbers(reference_rates), seconds, shares, fresh, seed, settings
    )
    report = measure(wanted, rate)
    if json is not None:
        import json as writer

        json.write_text(writer.dumps(report, indent=1) + "\n")
    if plot is not None:
        serve_runs.draw(report, plot)


def measure(wanted: Any, rate: float) -> dict[str, Any]:
    """Run, printing every row as it comes. The keys at the top are those of the rate asked for."""
    from jobs.bench import serve_runs

    typer.echo(serve_runs.HEADER)
    rows = []
    for row in serve_runs.rows(wanted):
        typer.echo(serve_runs.line(row))
        rows.append(row)
    (asked,) = [r for r in rows if r["system"] == "reprise" and r["rate"] == rate]
    return {**asked, "machine": serve_runs.machine(), "settings": serve_runs.settings_of(wanted), "rows": rows}


def _numbers(listed: str) -> list[float]:
    try:
        return [float(part) for part in listed.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"expected numbers with commas between, got {listed!r}") from error
