"""`reprise bench select`: does integrated gradients pick better than chance?"""

from pathlib import Path
from typing import Annotated

import typer


def select(
    train: Annotated[Path, typer.Option(help="Labelled rows of the base NLU: text, domain, intent, slots.")],
    stream: Annotated[
        Path,
        typer.Option(help="Labelled traffic: recognised, intent, slots; nlu_intent, nlu_slots, sentence_id if any."),
    ],
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    work: Annotated[
        Path, typer.Option(help="Folder for base models and finished cells; a later run goes on from it.")
    ] = Path("out/bench-select"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs, each with its own base model and split.")] = 10,
    budgets: Annotated[str, typer.Option(help="Shares of the training rows.")] = "0.0005,0.005,0.01,0.05",
    strategies: Annotated[str | None, typer.Option(help="Which to run, with commas; else all.")] = None,
    without: Annotated[
        str | None, typer.Option(help="Boolean column of --train; rows where it is true are left out, if it is there.")
    ] = "in_slurp_test",
    labels: Annotated[str, typer.Option(help="Labels of the candidates: logged (nlu_intent) or model.")] = "logged",
    epochs: Annotated[int, typer.Option(min=1, help="Passes of a base model.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a retraining.")] = 40,
    ablations: Annotated[bool, typer.Option("--ablations", help="Also rows with one option switched off.")] = False,
    minutes: Annotated[float | None, typer.Option(help="Stop after the cell in which this is over.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw the learning curve (.svg or .png).")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
) -> None:
    """Add what each strategy picks, retrain a little, and compare SemER on recordings of other sentences, seed by seed.

    A seed splits the traffic by sentence: two fifths to pick from, a fifth labelled to find the mistakes on, two fifths
    to judge on. Its base model is retrained from the same weights with the same rehearsal, whatever is added.
    """
    from jobs.bench import select_report, select_runs

    shares = select_runs.numbers(budgets)
    wanted = select_runs.Settings(
        train, stream, work, seeds, shares, select_runs.known(strategies, ablations), without, labels, epochs, steps,
        minutes, threads,
    )  # fmt: skip
    cells, facts = select_runs.run(wanted)
    report = select_report.report(cells, facts)
    typer.echo(select_report.table(report))
    if json is not None:
        from jobs.rundir import write_json

        write_json(json, report)
    if plot is not None:
        from jobs.nlu_pictures import learning_curve

        learning_curve(report["rows"], plot)
