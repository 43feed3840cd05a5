"""`reprise retrain`: train the NLU on its rows and the selected ones, and keep it only if the gate lets it pass."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.threads import default_threads

if TYPE_CHECKING:
    from jobs.nlu_evaluation import Judged
    from jobs.nlu_gate import Verdict
    from selection.examples import Utterance
    from selection.model import Nlu

REFUSED = 3
"""Exit code where the gate refused: the old model stays, nothing was written but the report asked for."""


@dataclass(frozen=True)
class RetrainOptions:
    """How to retrain; see `selection.training.WarmConfig` and `TrainingConfig`."""

    mode: str = "warm"
    steps: int = 100
    rehearsed: int = 56
    new: int = 8
    epochs: int = 8
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Retrained:
    """The new model, both models' readings of the held-out rows, and the gate's verdict."""

    model: "Nlu"
    before: "Judged"
    after: "Judged"
    verdict: "Verdict"


def retrain(
    selected: Annotated[Path, typer.Argument(help="Rows to add, from `reprise select`.")],
    model: Annotated[Path, typer.Option(help="NLU bundle in force.")],
    train: Annotated[Path, typer.Option(help="Rows it was trained on, for rehearsal or training anew.")],
    held_out: Annotated[Path, typer.Option(help="Labelled rows for the gate, trained on by neither model.")],
    out: Annotated[Path, typer.Option(help="NLU bundle to write if the gate lets it pass.")],
    mode: Annotated[str, typer.Option(help="warm: a few steps from the old weights; scratch: train anew.")] = "warm",
    steps: Annotated[int, typer.Option(min=1, help="Steps of --mode warm.")] = 100,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of --mode scratch.")] = 8,
    rehearsed: Annotated[int, typer.Option(min=0, help="Old rows in each step of --mode warm.")] = 56,
    new: Annotated[int, typer.Option(min=1, help="Selected rows in each step of --mode warm.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of order and, from scratch, of weights.")] = 0,
    without: Annotated[str | None, typer.Option(help="Boolean column; --train rows where it is true stay out.")] = None,
    only: Annotated[str | None, typer.Option(help="Boolean column; only --held-out rows where it is true.")] = None,
    held_out_text: Annotated[str | None, typer.Option(help="Column of the held-out rows' text.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write the gate's report as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Page with the confusions before and after.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
) -> None:
    """Retrain on the selected rows; exit code 3 and no bundle where the gate refuses."""
    import torch

    from jobs.nlu_bundle import refuse_existing
    from jobs.nlu_rows import read_rows
    from jobs.pretrained import load_model
    from jobs.rundir import sha256, write_json

    options = RetrainOptions(mode, steps, rehearsed, new, epochs, seed, threads)
    torch.set_num_threads(threads)
    refuse_existing(out)
    old, old_rows = load_model(model), read_rows(train, None, without)
    added = read_rows(selected)
    done = run(old, old_rows, added, read_rows(held_out, held_out_text, only=only), options)
    if report is not None:
        write_json(report, done.verdict.to_json())
    if html is not None:
        html.write_text(page(done), encoding="utf-8")
    show(done.verdict)
    if not done.verdict.passed:
        typer.echo(f"the old model stays: {done.verdict.reason}")
        raise typer.Exit(REFUSED)
    manifest = json.loads((model / "manifest.json").read_text())
    bundle_id = publish(done, out, manifest, options, len(old_rows), added, sha256(selected))
    typer.echo(f"NLU bundle {bundle_id} written to {out}: {done.verdict.reason}")


def run(
    old: "Nlu",
    old_rows: "list[Utterance]",
    added: "list[Utterance]",
    held_out: "list[Utterance]",
    options: RetrainOptions,
) -> Retrained:
    """Train and judge; rows of `old_rows` that are also held out, by text, are not trained on.

    Raises:
        ValueError: nothing to add, labels that the old model does not know, or no held-out rows.
    """
    from jobs import nlu_evaluation
    from jobs.nlu_gate import judge_gate

    if options.mode not in ("warm", "scratch"):
        raise ValueError(f"got --mode {options.mode}; expected warm or scratch; a typing slip?")
    if not added:
        raise ValueError("nothing to add: got no selected rows; expected some from `reprise select`")
    kept_apart = {u.text for u in held_out}
    rehearsal = [u for u in old_rows if u.text not in kept_apart]
    new = [u for u in added if u.text not in kept_apart]
    fresh = _warm(old, rehearsal, new, options) if options.mode == "warm" else _scratch(rehearsal + new, options)
    before, after = (nlu_evaluation.judge(model, held_out) for model in (old, fresh))
    return Retrained(fresh, before, after, judge_gate(before, after, options.seed))


def _warm(old: "Nlu", rows: "list[Utterance]", added: "list[Utterance]", options: RetrainOptions) -> "Nlu":
    """A copy of the old model after a few steps; its temperatures stay."""
    import copy

    from selection.training import Prepared, WarmConfig, warm_train

    if unknown := old.labels.unknown(added):
        name, count = unknown.most_common(1)[0]
        raise ValueError(
            f"unknown label {name} in {count} selected rows; expected labels of the model; --mode scratch learns new "
            "labels"
        )
    model = copy.deepcopy(old)
    known = [u for u in rows if not old.labels.unknown([u])]
    config = WarmConfig(options.steps, options.rehearsed, options.new, seed=options.seed)
    warm_train(model, Prepared.of(known, model.labels), Prepared.of(added, model.labels), config)
    return model


def _scratch(rows: "list[Utterance]", options: RetrainOptions) -> "Nlu":
    from jobs.nlu import TrainOptions, fit
    from jobs.nlu_rows import hold_out

    train = TrainOptions(epochs=options.epochs, seed=options.seed, threads=options.threads)
    training, kept = hold_out(rows, train.hold_out, train.split_seed)
    return fit(training, kept, replace(train, hold_out=0.0))


def publish(
    done: Retrained,
    out: Path,
    parent: dict[str, Any],
    options: RetrainOptions,
    old_count: int,
    added: "list[Utterance]",
    selected_sha256: str,
) -> str:
    """Write the bundle with its lineage; returns its id."""
    from collections import Counter

    from jobs import nlu_evaluation
    from jobs.nlu_bundle import write_bundle

    counts = Counter(parent.get("intent_counts", {}))
    counts.update(u.intent for u in added)
    facts = {
        "parents": [parent["id"]],
        "config": asdict(options),
        "rows": old_count + len(added),
        "added": len(added),
        "selected_sha256": selected_sha256,
        "intent_counts": dict(sorted(counts.items())),
        "held_out": len(done.after.rows),
        "figures": nlu_evaluation.figures(done.model, done.after),
        "gate": done.verdict.to_json(),
    }
    return write_bundle(done.model, out, facts)


def page(done: Retrained) -> str:
    """Confusions and the verdict as one HTML page."""
    from jobs import nlu_html

    verdict = done.verdict
    rows = [
        [name, f"{i.value:+.4f}", f"[{i.low:+.4f}, {i.high:+.4f}]"]
        for name, i in [("all", verdict.overall), ("tail", verdict.tail), *verdict.domains.items()]
    ]
    return nlu_html.page(
        "NLU before and after",
        f"<p>{verdict.reason}. SemER {verdict.before:.4f} before, {verdict.after:.4f} after.</p>",
        nlu_html.table(("rows", "SemER change", "95 % interval"), rows, numbers=(1, 2)),
        nlu_html.confusions_section(done.before, done.after),
    )


def show(verdict: "Verdict") -> None:
    """Print the gate's figures."""
    typer.echo(f"SemER {verdict.before:.4f} before, {verdict.after:.4f} after")
    for name, i in [("all", verdict.overall), ("tail", verdict.tail), *verdict.domains.items()]:
        typer.echo(f"  {name:16s} {i.value:+.4f}  [{i.low:+.4f}, {i.high:+.4f}]")
