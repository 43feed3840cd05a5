"""`reprise evaluate`: did rewriting help, and what did it break? Beside the obvious methods, on the same turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.threads import default_threads, default_workers

if TYPE_CHECKING:
    from jobs.evaluation import Evaluation
    from jobs.metrics import Estimate
    from jobs.references import Answers

TITLES = {
    "trigger_rate": "trigger",
    "precision": "precision",
    "fixed": "fixed",
    "harm": "harm",
    "cpdr_before": "CPDR before",
    "cpdr_after": "CPDR after",
    "cpdr_change": "CPDR change",
}


@dataclass(frozen=True)
class EvaluateConfig:
    """What an evaluation reads and writes; None leaves that part out. `draws` are bootstrap draws.

    `beside` are further decisions of the same turns, as of another bundle: a row each, named like the file.
    """

    turns: Path
    truth: Path
    bundle: Path | None = None
    decisions: Path | None = None
    beside: tuple[Path, ...] = ()
    oracle: Path | None = None
    mined: Path | None = None
    json_out: Path | None = None
    html_out: Path | None = None
    seed: int = 0
    draws: int = 1_000
    threads: int = 1


def evaluate(
    turns: Annotated[Path, typer.Argument(help="The turns to rewrite: a log, parquet or JSON lines.")],
    truth: Annotated[Path, typer.Option(help="What the users of these turns wanted, parquet.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle to decide with.")] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="Score these decisions; the bundle, if named, is not run then.")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            help="Other decisions of the same turns, as of another bundle, to compare with; as often as needed."
        ),
    ] = None,
    oracle: Annotated[
        Path | None, typer.Option(help="What the assistant does with each text; else right means the intended text.")
    ] = None,
    mined: Annotated[Path | None, typer.Option(help="Mining run to compute the reference rows from.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the numbers here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    draws: Annotated[int, typer.Option(min=10, help="Bootstrap draws behind each interval.")] = 1_000,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
) -> None:
    """Measure what rewriting does to these turns, with intervals, beside the reference rows."""
    others = tuple(beside or ())
    config = EvaluateConfig(turns, truth, bundle, decisions, others, oracle, mined, json, html, seed, draws, threads)
    print_table(run(config))
    for path in (json, html):
        if path is not None:
            typer.echo(f"written: {path}")


def run(
    config: EvaluateConfig,
    beside: "Mapping[str, Answers] | None" = None,
    references: "Mapping[str, Answers] | None" = None,
) -> "Evaluation":
    """Evaluate, and write the JSON and the report where the config asks for them.

    Args:
        beside: answers to compare ours with, by name, besides those of the config. references: further reference rows.

    Raises:
        FileNotFoundError: an input is missing.
        ValueError: an input is no such table, or neither bundle nor decisions are given.
    """
    from jobs.evaluation import as_json, evaluate_answers
    from jobs.references import all_references, nothing
    from jobs.truth import read_oracle, read_truth
    from jobs.turns import read_log

    log = read_log(config.turns)
    if log.num_rows == 0:
        raise ValueError(
            f"nothing to evaluate; got no rows in {config.turns}; expected at least one turn; an empty export?"
        )
    ids = log["interaction_id"].to_pylist()
    truth = read_truth(config.truth, ids)
    oracle = None if config.oracle is None else read_oracle(config.oracle)
    ours = _ours(config, ids)
    queries = _normalised(log["utterance"].to_pylist())
    users = [str(u) for u in log["user_id"].to_pylist()]
    simple = {"nothing": nothing(queries)} if config.mined is None else all_references(queries, users, config.mined)
    rows = {**simple, **(references or {})}
    others = {**(beside or {}), **_beside(config.beside, ids, {*rows, *(beside or ())})}
    evaluation = evaluate_answers(log, truth, oracle, ours, rows, config.seed, config.draws, others)
    if config.json_out is not None:
        _write(config.json_out, dumps(as_json(evaluation), indent=1) + "\n")
    if config.html_out is not None:
        from jobs.report.report import render

        _write(config.html_out, render(evaluation, config.mined, _facts(config)))
    return evaluation


def without_session(turns: Path, bundle: Path, decisions: Path) -> "dict[str, Answers]":
    """What `run` compares ours with: the bundle's answers where every turn is decided as its session's first.

    Args:
        decisions: file to write them to.
    """
    import numpy as np

    from jobs import rewrite
    from jobs.evaluation import ALONE
    from jobs.references import Answers

    made = rewrite.run(turns, bundle, decisions, workers=default_workers(), alone=True)
    return {ALONE: Answers(tuple(d.text for d in made), np.array([d.confidence for d in made], dtype=np.float64))}


def _normalised(utterances: list[str | None]) -> list[str]:
    from rewrite.text import normalise

    return [normalise(u or "") for u in utterances]


def _ours(config: EvaluateConfig, ids: list[str]) -> "Answers":
    """Our answers: of the decisions file where one is given, else of the bundle."""
    from tempfile import TemporaryDirectory

    from jobs import rewrite
    from jobs.evaluation import read_decisions

    if config.decisions is not None:
        return read_decisions(config.decisions, ids)
    if config.bundle is None:
        raise ValueError(
            "nothing to evaluate; got neither --bundle nor --decisions; expected one of them; a flag forgotten?"
        )
    with TemporaryDirectory() as folder:
        rewrite.run(config.turns, config.bundle, Path(folder) / "decisions.parquet", config.threads, default_workers())
        return read_decisions(Path(folder) / "decisions.parquet", ids)


def _beside(paths: Sequence[Path], ids: list[str], taken: set[str]) -> "dict[str, Answers]":
    """Answers of other decisions files by name: the file's, without its ending. `taken` are the names of other rows."""
    from jobs.evaluation import OURS, read_decisions

    found: dict[str, Answers] = {}
    for path in paths:
        if path.stem in {OURS, *taken, *found}:
            raise ValueError(
                f"two rows would be named {path.stem}; got --beside {path}; expected a file of another name; "
                "named twice, or two folders with files of the same name?"
            )
        found[path.stem] = read_decisions(path, ids)
    return found


def _facts(config: EvaluateConfig) -> dict[str, str]:
    """What the report says about the run itself."""
    named = {"turns": config.turns, "bundle": config.bundle, "decisions": config.decisions, "mined": config.mined}
    facts = {name: path.name for name, path in named.items() if path is not None}
    if config.bundle is not None and (config.bundle / "manifest.json").is_file():
        facts["bundle id"] = str(loads((config.bundle / "manifest.json").read_text()).get("id"))
    return facts


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def print_table(evaluation: "Evaluation") -> None:
    """Print the metrics of every system, each with its 95 % interval below it."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    shown = {metric: title for metric, title in TITLES.items() if metric != "cpdr_before"}
    before = cell(evaluation.ours.estimates["cpdr_before"], "cpdr_before")
    typer.echo(f"{len(evaluation.queries)} turns; CPDR if left alone {before}; 95 % intervals over users")
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for title in ("system", *shown.values()):
        table.add_column(title, no_wrap=True)
    for system in evaluation.systems:
        cells = (cell(system.estimates[metric], metric).replace(" [", "\n[") for metric in shown)
        table.add_row(system.name, *cells)
    # narrower than the table, a terminal wraps whole lines: better than cells cut short
    Console(width=max(Console().width, 130)).print(table, markup=False)
    if evaluation.best_reference is not None:
        name = evaluation.best_reference.name
        typer.echo(f"CPDR change, ours minus {name}, the best reference: {lead_in_words(evaluation.lead())}")
    for name, lead in evaluation.leads().items():
        typer.echo(f"CPDR change, ours minus {name}: {lead_in_words(lead)}")


def lead_in_words(lead: "Estimate | None") -> str:
    """Our CPDR change minus another's, in percentage points, and what to make of it."""
    if lead is None or lead.value != lead.value:
        return "-"
    verdict = (
        "fewer defects" if lead.high < 0 else "more defects" if lead.low > 0 else "the interval includes no difference"
    )
    return f"{cell(lead, 'cpdr_change').replace(' %', ' points')} ({verdict})"


def cell(estimate: "Estimate", metric: str) -> str:
    """An estimate as text: `-28.1 % [-30.2, -26.0]` for a change, per cent with a digit more for the small harm."""
    if estimate.value != estimate.value:
        return "-"
    digits, sign = (2 if metric == "harm" else 1), ("+" if metric == "cpdr_change" else "")

    def shown(value: float) -> str:
        return f"{100 * value:{sign}.{digits}f}".replace("-", "−")

    return f"{shown(estimate.value)} % [{shown(estimate.low)}, {shown(estimate.high)}]"
