"""`reprise bench mine`: does mining cost little more than reading, shuffling and writing the log once?"""

from pathlib import Path
from typing import Annotated, Any

import typer


def mine(
    turns: Annotated[str, typer.Option(help="Sizes of the logs, in turns, comma-separated.")] = "100000,1000000",
    logs: Annotated[Path | None, typer.Option(help="Log that larger ones are grown from; default: the demo's.")] = None,
    work: Annotated[Path | None, typer.Option(help="Scratch folder; default: a temporary one.")] = None,
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw time against turns (.png or .svg).")] = None,
    memory: Annotated[str, typer.Option(help="Java heap of the driver.")] = "4g",
    cores: Annotated[int, typer.Option(help="Local cores.")] = 2,
) -> None:
    """Mine logs of several sizes beside the reference: repartition by user, sort by time, write parquet."""
    import tempfile

    from jobs.bench import mine_runs

    base = logs or Path(__file__).parents[1] / "demo" / "logs.parquet"
    with tempfile.TemporaryDirectory(dir=work) as folder:
        sizes = [int(size) for size in turns.split(",")]
        report = mine_runs.measure(base, sizes, Path(folder), memory, cores, lambda line: typer.echo(line, err=True))
    for row in report["rows"]:
        typer.echo(
            f"{row['turns']:>10d} turns  mine {row['seconds']:7.1f} s  reference {row['reference_seconds']:7.1f} s  "
            f"ratio {row['ratio']:.2f}"
        )
    if json is not None:
        import json as writer

        json.write_text(writer.dumps(report, indent=1) + "\n")
    if plot is not None:
        draw(report, plot)


def draw(report: dict[str, Any], path: Path) -> None:
    """Seconds against turns, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    sizes = [row["turns"] for row in report["rows"]]
    for name, key in (("reprise mine", "seconds"), ("read, shuffle, sort, write", "reference_seconds")):
        axes.plot(sizes, [row[key] for row in report["rows"]], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="turns", ylabel="seconds")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
