"""`reprise bench quality`: does the generator find the right text, and does the loop reduce defects?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.base import BASE
from jobs.learn import LearnConfig
from jobs.threads import default_threads

if TYPE_CHECKING:
    from jobs.bench.pairs import PairTask
    from jobs.references import Answers
    from rewrite.generator import Generator

_COLUMNS = ("p_at_1", "precision_at_50", "precision_at_70", "precision_at_80")


def quality(
    pairs: Annotated[Path | None, typer.Option(help="Parquet of misheard queries: recognised, spoken.")] = None,
    catalogue: Annotated[
        list[Path] | None, typer.Option(help="Texts known to work: parquet with spoken or text, or one a line.")
    ] = None,
    voicelogs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of history, future, future_truth and oracle.parquet, or one `reprise simulate` wrote."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Generator: base, none, a path or a hub name; else base for --pairs and none for --voicelogs."
        ),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Only pairs that `jobs.pretrain` leaves out of training, by their text.")
    ] = False,
    sample: Annotated[int, typer.Option(min=1, help="Queries drawn from the pairs.")] = 1500,
    folds: Annotated[int, typer.Option(min=2, help="Folds of meant texts that rankers are judged by.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the folds and of training.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
    min_users: Annotated[int, typer.Option(min=1, help="With --voicelogs: the global space's floor.")] = 5,
    steps: Annotated[int, typer.Option(min=0, help="With --voicelogs: training steps.")] = LearnConfig.steps,
    work: Annotated[
        Path | None,
        typer.Option(help="Where run, bundle and decisions of --voicelogs are kept, and found again."),
    ] = None,
    mined: Annotated[
        Path | None, typer.Option(help="With --voicelogs: a run of `reprise mine` over its history, not to mine again.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="With --voicelogs: a bundle learned from it, not to learn again.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw precision against trigger rate.")] = None,
) -> None:
    """Measure Reprise beside every simpler way, on misheard pairs, on voice logs, or on both."""
    import torch

    if pairs is None and voicelogs is None:
        raise ValueError("nothing to measure: give --pairs with --catalogue, or --voicelogs, or both")
    torch.set_num_threads(threads)
    report: dict[str, Any] = {"seed": seed, "folds": folds}
    if pairs is not None:
        report |= measure_pairs(pairs, catalogue or [], held_out, _generator(model), sample, folds, seed)
        _show_pairs(report)
    if voicelogs is not None:
        from jobs.bench.voicelogs import Done, measure_voicelogs

        learning = LearnConfig(steps, None if model == "none" else model, seed=seed, threads=threads)
        report["voicelogs"] = measure_voicelogs(voicelogs, work, min_users, learning, Done(mined, bundle))
    if plot is not None:
        _draw(report, plot)
    if json is not None:
        import json as writer

        json.write_text(writer.dumps(report, indent=1) + "\n")


def _generator(model: str | None) -> "Generator | None":
    """What the pairs are ranked with; by default the base, where it ships."""
    from rewrite.generator import Generator

    if model == "none" or (model is None and not BASE.exists()):
        return None
    return Generator.load(BASE if model in (None, "base") else model)


def measure_pairs(
    pairs: Path,
    catalogue: list[Path],
    held_out: bool,
    generator: "Generator | None",
    sample: int,
    folds: int,
    seed: int,
) -> dict[str, Any]:
    """Scores per system under `systems`, ours under `reprise`; precision-trigger curves; what absence does."""
    from jobs.bench.pair_ranker import by_channel, rank
    from jobs.bench.pairs import PairTask, curve, left_alone, scores
    from jobs.progress import progress

    task = PairTask.read(pairs, catalogue, sample, held_out)
    answers = _references(task, folds, seed)
    with progress("ranker", len(task.queries)) as advance:
        bare = rank(task, None, folds, seed, advance)
    answers["reprise without the model"] = bare.answers
    ours = bare
    if generator is not None:
        with progress("channel alone", len(task.queries)) as advance:
            answers["channel without the ranker"] = by_channel(task, generator, 30, advance)
        with progress("ranker and model", 3 * len(task.queries)) as advance:
            ours = rank(task, generator, folds, seed, advance)
    answers["reprise"] = ours.answers
    return {
        "context": _context(task, generator, ours.answers, folds, seed),
        "queries": len(task.queries),
        "texts": len(task.texts),
        "model": generator is not None,
        "systems": {name: scores(task, found) for name, found in answers.items()},
        "curves": {name: curve(task, found) for name, found in answers.items()},
        "absent_left_alone": left_alone(ours.answers.confidence, ours.absent),
    }


def _references(task: "PairTask", folds: int, seed: int) -> "dict[str, Answers]":
    """Every simpler way, those that learn from pairs fitted without the pairs of the fold they answer."""
    from jobs.catalogue_references import FITTED, out_of_fold
    from jobs.progress import track
    from rewrite.trees import folds_by

    fold = folds_by(task.meant, folds, seed)
    names = track(list(FITTED), "references")
    return {name: out_of_fold(name, task.queries, task.meant, fold, task.texts, seed) for name in names}


def _context(
    task: "PairTask", generator: "Generator | None", alone: "Answers", folds: int, seed: int
) -> dict[str, float]:
    """What it is worth to know the failed try before: P@1 with it and without, over the queries that have one."""
    from jobs.bench.pair_ranker import rank
    from jobs.bench.pairs import scores
    from jobs.progress import progress

    before = task.heard_before()
    rows = [row for row, turns in enumerate(before) if turns]
    if not rows:
        return {"queries": 0}
    steps = (1 if generator is None else 3) * len(task.queries)
    with progress("after a failed try", steps) as advance:
        found = rank(task, generator, folds, seed, advance, before).answers
    part = task.of(rows)
    return {
        "queries": len(rows),
        "p_at_1": scores(part, found.of(rows))["p_at_1"],
        "p_at_1_without": scores(part, alone.of(rows))["p_at_1"],
    }


def _show_pairs(report: dict[str, Any]) -> None:
    typer.echo(
        f"{'system':28s}"
        + "".join(f"{name.replace('precision_at_', 'p@.').replace('p_at_1', 'P@1'):>8s}" for name in _COLUMNS)
    )
    for name, row in report["systems"].items():
        typer.echo(f"{name:28s}" + "".join(f"{row[column]:8.3f}" for column in _COLUMNS))
    if report["context"]["queries"]:
        typer.echo(
            "after a failed try, {queries} queries: P@1 {p_at_1:.3f}; without it {p_at_1_without:.3f}".format(
                **report["context"]
            )
        )
    typer.echo(
        f"{report['queries']} queries, {report['texts']} texts; with its text taken out, "
        f"{report['absent_left_alone']:.1%} of the queries stay below the confidence of the surest 70 %"
    )


def _draw(report: dict[str, Any], path: Path) -> None:
    """One panel for each kind of data that was measured."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(of, found["curves"]) for of, found in _measured(report).items()]
    figure, rows = pyplot.subplots(len(panels), figsize=(7, 4.5 * len(panels)), squeeze=False)
    for axes, (of, curves) in zip(rows[:, 0], panels, strict=True):
        for row, (name, points) in enumerate(curves.items()):
            trigger, precision = zip(*points, strict=True) if points else ((), ())
            width, marker = 2 if name == "reprise" else 1, "." if len(points) == 1 else None
            # colours come again after ten
            axes.plot(trigger, precision, "--" if row >= 10 else "-", label=name, linewidth=width, marker=marker)
        axes.set_xlabel(f"trigger rate: share of the {of} that are rewritten")
        axes.set_ylabel("precision")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _measured(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was measured, by what is rewritten there."""
    measured = {"misheard queries": report} if "curves" in report else {}
    return measured | ({"turns": report["voicelogs"]} if "voicelogs" in report else {})
