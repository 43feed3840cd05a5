"""Train the model of follow-ups on labelled pairs: `python -m jobs.fit_kinds PAIRS --out MODEL`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.faults import run_alone
from jobs.pair_rows import HELP


def fit_kinds(
    pairs: Annotated[Path, typer.Argument(help=HELP)],
    out: Annotated[Path, typer.Option(help="JSON file to write the model to.")],
    folds: Annotated[int, typer.Option(min=2, help="Blocks of time that the cuts are chosen by.")] = 10,
    likeness: Annotated[
        bool, typer.Option("--likeness", help="Look at likeness alone: for a log that nobody has labelled.")
    ] = False,
) -> None:
    """Fit on all pairs; the cuts come from probabilities of blocks that their model had not seen."""
    from jobs.correction_pairs import check_enough, held_out, read_pairs
    from jobs.rundir import sha256
    from mining import kinds, likeness_model

    read, labels = read_pairs(pairs)
    check_enough(labels, folds, likeness_model.FEWEST if likeness else kinds.FEWEST)
    rows, fit = _likeness(read) if likeness else (kinds.matrix(read), kinds.fit)
    cuts = kinds.best_cuts(held_out(rows, labels, folds, fit), labels)
    model = dataclasses.replace(fit(rows, labels, 0, *cuts), trained_on=sha256(pairs))
    out.write_text(model.to_json() + "\n", encoding="utf-8")
    typer.echo(f"{len(labels)} pairs, cuts {cuts}, written to {out}")


def _likeness(pairs: Any) -> tuple[Any, Any]:
    from mining import likeness_model
    from mining.likeness import of_pairs

    return of_pairs(pairs).columns(), likeness_model.fit


if __name__ == "__main__":
    run_alone(fit_kinds)
