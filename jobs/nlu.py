"""`reprise nlu train|evaluate`: the NLU whose mistakes selection repairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.threads import default_threads

if TYPE_CHECKING:
    from selection.examples import Utterance
    from selection.model import Nlu

app = typer.Typer(no_args_is_help=True, help="Train and evaluate the NLU: domain, intent and slots.")

TextColumn = Annotated[
    str | None, typer.Option(help="Column of the text; else the first of text, utterance, recognised, spoken.")
]
Without = Annotated[str | None, typer.Option(help="Boolean column; rows where it is true are left out.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads for the model.")]


@dataclass(frozen=True)
class TrainOptions:
    """What `nlu train` is told besides its files; `rate` None takes what suits the encoder."""

    model: str | None = None
    epochs: int = 8
    rate: float | None = None
    hold_out: float = 0.1
    split_seed: int = 0
    seed: int = 0
    threads: int = 1


@app.callback()
def _group() -> None:
    """Train and evaluate the NLU: domain, intent and slots."""


@app.command("train")
def train(
    rows: Annotated[Path, typer.Argument(help="Parquet or JSON lines: text, domain, intent, slots.")],
    out: Annotated[Path, typer.Option(help="NLU bundle to write.")],
    model: Annotated[
        str | None, typer.Option(help="Encoder to start from: a path, or a hub name to download; else compact.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows.")] = 8,
    rate: Annotated[float | None, typer.Option(help="Learning rate; else 2e-3, or 5e-5 for --model.")] = None,
    hold_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the rows kept back, to calibrate and evaluate on.")
    ] = 0.1,
    split_seed: Annotated[int, typer.Option(help="Which rows are kept back.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of weights and order.")] = 0,
    text_column: TextColumn = None,
    without: Without = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Also fit TF-IDF with logistic regression, for comparison.")
    ] = False,
    threads: Threads = default_threads(),
) -> None:
    """Train domain, intent and slots jointly, calibrate on the rows kept back, and write a bundle."""
    from jobs.nlu_rows import read_rows

    options = TrainOptions(model, epochs, rate, hold_out, split_seed, seed, threads)
    report = run_training(read_rows(rows, text_column, without), out, options, reference)
    show(report["figures"], report["reference"])
    typer.echo(f"NLU bundle {report['id']} written to {out}")


@app.command("evaluate")
def evaluate(
    model: Annotated[Path, typer.Argument(help="NLU bundle of `reprise nlu train` or `reprise retrain`.")],
    rows: Annotated[Path, typer.Argument(help="Labelled rows.")],
    text_column: TextColumn = None,
    without: Without = None,
    reference: Annotated[
        Path | None, typer.Option(help="Rows to train the reference on: TF-IDF with logistic regression.")
    ] = None,
    reference_without: Annotated[str | None, typer.Option(help="As --without, for the reference's rows.")] = None,
    confusion: Annotated[Path | None, typer.Option(help="Where to draw the confusion matrix (.svg or .png).")] = None,
    of: Annotated[str, typer.Option(help="What the matrix shows: domain or intent.")] = "domain",
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    threads: Threads = default_threads(),
) -> None:
    """Accuracy, macro F1, slot F1 and SemER of a model on labelled rows."""
    import torch

    from jobs import nlu_evaluation, nlu_pictures
    from jobs.nlu_rows import read_rows
    from jobs.pretrained import load_model

    if of not in ("domain", "intent"):
        raise ValueError(f"got --of {of}; expected domain or intent; a typing slip?")
    torch.set_num_threads(threads)
    nlu, labelled = load_model(model), read_rows(rows, text_column, without)
    if not labelled:
        raise ValueError(f"{rows} holds no rows to evaluate on; is --without true in every row?")
    judged = nlu_evaluation.judge(nlu, labelled)
    found = nlu_evaluation.figures(nlu, judged)
    beside = None
    if reference is not None:
        beside = nlu_evaluation.reference(read_rows(reference, None, reference_without), labelled)
    show(found, beside)
    if confusion is not None:
        nlu_pictures.confusion_matrix(judged, of, confusion)
    if json is not None:
        from jobs.rundir import write_json

        write_json(json, {"figures": found, "reference": beside})


def run_training(
    rows: "list[Utterance]", out: Path, options: TrainOptions, with_reference: bool = False
) -> dict[str, Any]:
    """Train and pack; returns the bundle's id, its figures on the rows kept back, and the reference's.

    Checkpoints lie beside `out` until the bundle is written.

    Raises:
        ValueError: rows that cannot be trained on. FileExistsError: `out` exists.
    """
    import shutil
    from collections import Counter

    from jobs import nlu_evaluation
    from jobs.nlu_bundle import refuse_existing, write_bundle
    from jobs.nlu_rows import hold_out

    refuse_existing(out)
    training, kept = hold_out(rows, options.hold_out, options.split_seed)
    checkpoints = out.parent / f".{out.name}.checkpoints"
    model = fit(training, kept, options, checkpoints)
    found = nlu_evaluation.figures(model, nlu_evaluation.judge(model, kept)) if kept else {}
    beside = nlu_evaluation.reference(training, kept, options.seed) if with_reference and kept else None
    facts = {
        "parents": [],
        "config": vars(options),
        "rows": len(training),
        "intent_counts": dict(sorted(Counter(u.intent for u in training).items())),
        "held_out": len(kept),
        "figures": found,
    }
    bundle_id = write_bundle(model, out, facts)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return {"id": bundle_id, "figures": found, "reference": beside}


def fit(
    training: "list[Utterance]",
    kept: "list[Utterance]",
    options: TrainOptions,
    checkpoints: Path | None = None,
    quiet: bool = False,
) -> "Nlu":
    """A model trained on `training`, its temperatures fitted on `kept`."""
    import torch

    from jobs.progress import progress
    from selection.calibration import calibrate
    from selection.examples import check
    from selection.labels import Labels
    from selection.model import Nlu
    from selection.training import TrainingConfig, steps_of
    from selection.training import train as train_model

    torch.set_num_threads(options.threads)
    unaligned = check(training)
    encoder = None
    if options.model:
        from jobs.pretrained import PretrainedEncoder

        encoder = PretrainedEncoder.load(options.model)
    model = Nlu.build(Labels.of(training), encoder, options.seed)
    rate = options.rate or (5e-5 if options.model else 2e-3)
    config = TrainingConfig(epochs=options.epochs, learning_rate=rate, seed=options.seed)
    if quiet:
        train_model(model, training, config, checkpoints)
    else:
        with progress("nlu train", steps_of(len(training), config)) as advance:
            train_model(model, training, config, checkpoints, lambda step, loss: advance(note=f"loss {loss:.3f}"))
        if unaligned:
            typer.echo(f"{unaligned} rows have slots that do not align: they taught domain and intent only", err=True)
    calibrate(model, kept)
    return model


def show(found: dict[str, Any], beside: dict[str, float] | None) -> None:
    """Print figures, the reference's beside them."""
    for name, value in found.items():
        if isinstance(value, dict):
            if value:
                top = ", ".join(f"{label} ({count})" for label, count in list(value.items())[:5])
                typer.echo(f"{name.replace('_', ' ')}: {top}")
            continue
        number = f"{value:.4f}" if isinstance(value, float) else str(value)
        extra = f"   TF-IDF + logistic regression {beside[name]:.4f}" if beside and name in beside else ""
        typer.echo(f"{name.replace('_', ' '):26s} {number}{extra}")
