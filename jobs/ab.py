"""`reprise experiment`: who is in which arm, what came of it, and stopping harm."""

import time
from dataclasses import asdict
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(no_args_is_help=True, help="Run, report and watch an experiment with users.")

Root = Annotated[Path, typer.Option("--registry", help="Folder of bundles.")]
Mined = Annotated[Path, typer.Argument(help="Run directory of `reprise mine`, from logs with exposures.")]
Share = Annotated[float, typer.Option(min=0, max=1, help="Share of users held out by the service.")]


@app.callback()
def _group() -> None:
    """Run, report and watch an experiment with users."""


@app.command("start")
def start(
    registry: Root,
    salt: Annotated[str, typer.Option(help="Name of the experiment; another one draws other users.")],
    shares: Annotated[
        str, typer.Option(help="The challenger's shares of users, one after the other.")
    ] = "0.01,0.05,0.2,0.5",
    step_hours: Annotated[float, typer.Option(min=0.001, help="Hours from one share to the next.")] = 24.0,
    shadow: Annotated[bool, typer.Option(help="The challenger decides, and nothing is done with it.")] = False,
    holdout_share: Share = 0.02,
    holdout_salt: Annotated[str, typer.Option(help="As the service is told.")] = "reprise",
) -> None:
    """Write the experiment that the service follows: the challenger shadows, or gets a rising share of users."""
    from rewrite.assignment import FILE, Experiment, ramp_of
    from rewrite.disk import replace_text
    from rewrite.registry import Registry

    challenger = Registry(registry).path("challenger").name
    try:
        steps = tuple(float(share) for share in shares.split(","))
    except ValueError as error:
        raise ValueError(f"--shares are numbers with commas between them; got {shares!r}; e.g. 0.01,0.1,0.5") from error
    ramp = () if shadow else ramp_of(time.time(), steps, step_hours * 3600)
    experiment = Experiment(salt, holdout_share, holdout_salt, ramp, shadow)
    replace_text(registry / FILE, dumps(experiment.as_dict(), indent=1) + "\n")
    typer.echo(
        f"challenger {challenger} " + ("shadows" if shadow else f"gets {shares} of users, {step_hours:g} h each")
    )


@app.command("report")
def report(
    mined: Mined,
    registry: Root,
    holdout_share: Share = 0.02,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    act: Annotated[bool, typer.Option("--act", help="Roll back, stop or withdraw what the bounds say harms.")] = False,
) -> None:
    """CPDR of the arms with intervals that hold at every look, sample-ratio check, groups, win and loss per pair."""
    from jobs.bundles import open_registry
    from jobs.experiment.watch import act as do
    from jobs.experiment.watch import actions

    opened = open_registry(registry)
    made = make(mined, opened.resolve("champion"), opened.resolve("challenger"), _expected(registry, holdout_share))
    wanted = actions(made)
    made["actions"] = [asdict(action) for action in wanted]
    print_report(made)
    if json is not None:
        json.write_text(dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if act:
        for line in do(opened, wanted, "reprise experiment"):
            typer.echo(line)


@app.command("watch")
def watch(
    logs: Annotated[list[Path], typer.Argument(help="Interaction logs of the last days, parquet or JSON lines.")],
    registry: Root,
    state: Annotated[Path | None, typer.Option(help="The service's state, whose exposures are joined.")] = None,
    holdout_share: Share = 0.02,
    act: Annotated[bool, typer.Option("--act", help="Roll back or stop what the bounds say harms.")] = False,
) -> None:
    """The same report from the logs themselves, in seconds, to be called every hour; leaves single pairs alone."""
    from jobs.bundles import open_registry
    from jobs.experiment.logs import quickly_judged
    from jobs.experiment.watch import act as do
    from jobs.experiment.watch import urgent
    from jobs.pipeline.importing import read_exposed_logs

    opened = open_registry(registry)
    aliases = opened.resolve("champion"), opened.resolve("challenger")
    made = report_of(quickly_judged(read_exposed_logs(logs, state)), *aliases, _expected(registry, holdout_share))
    print_arms(made)
    wanted = urgent(made)
    for line in do(opened, wanted, "reprise experiment watch") if act else [a.why for a in wanted]:
        typer.echo(line)


def _expected(registry: Path, holdout_share: float) -> dict[str, float]:
    from rewrite.assignment import FILE, Experiment

    path = registry / FILE
    experiment = Experiment("", holdout_share)
    if path.is_file():
        experiment = Experiment.of(loads(path.read_text(encoding="utf-8")))
    return {str(arm): share for arm, share in experiment.expected(time.time()).items()}


def make(mined: Path, champion: str | None, challenger: str | None, expected: dict[str, float]) -> dict[str, Any]:
    """The report of a mining run, as plain values: arms of the bundles now in force, pairs of all.

    Raises:
        ValueError: no turn was asked of Reprise.
    """
    from jobs.experiment.logs import asked_turns

    return report_of(asked_turns(mined), champion, challenger, expected)


def report_of(
    asked: "pa.Table", champion: str | None, challenger: str | None, expected: dict[str, float]
) -> dict[str, Any]:
    """`make` of turns (log columns, text and defect_probability) on which Reprise was asked."""
    from jobs.experiment.compare import against, by_group, cpdr, sample_ratio
    from jobs.experiment.logs import arms_of, in_force, shown_pairs, watched
    from jobs.experiment.pairs import base_success, pair_results
    from jobs.experiment.sure import broken

    turns, shown = in_force(asked, (champion, challenger)), shown_pairs(asked)
    arms = arms_of(turns, challenger)
    compared: dict[str, Any] = {"champion": {**against(arms, "champion", "holdout"), "against": "holdout"}}
    if arms.of("challenger").any():
        compared["challenger"] = {**against(arms, "challenger", "champion"), "against": "champion"}
    named = (("champion", champion), ("challenger", challenger))
    return {
        "turns": turns.num_rows,
        "champion": champion,
        "challenger": challenger,
        "cpdr": {name: cpdr(arms, name).value for name in arms.names if arms.of(name).any()},
        "arms": compared,
        "sure_texts": {name: broken(watched(asked, bundle)) for name, bundle in named if bundle is not None},
        "sample_ratio": sample_ratio(arms, expected),
        "groups": by_group(arms, "champion", "holdout"),
        "pairs": [asdict(pair) for pair in pair_results(shown, base_success(shown))],
    }


def print_report(made: dict[str, Any]) -> None:
    """Print the arms, the split, the groups and the pairs that call for something."""
    print_arms(made)
    for g in made["groups"]:
        typer.echo(f"  {g['group']} {g['value']}: change {_points(g['change'])}")
    marked = [pair for pair in made["pairs"] if pair["verdict"] != "watch"]
    typer.echo(f"{len(made['pairs'])} pairs shown, {len(marked)} with a verdict")
    for pair in sorted(marked, key=lambda p: p["verdict"] != "withdraw")[:20]:
        counts = f"{pair['wins']} wins, {pair['losses']} losses"
        typer.echo(f"  {pair['verdict']}: {pair['source']!r} → {pair['target']!r}  {counts}")


def print_arms(made: dict[str, Any]) -> None:
    """Print the arms against each other, and the split."""
    for name, r in made["arms"].items():
        change, valid = r["change"], r["always_valid"]
        typer.echo(
            f"{name} against {r['against']}: CPDR {_rate(r['treated']['value'])} against "
            f"{_rate(r['control']['value'])}, change {_points(change)}; "
            f"at every look {_points(valid)}, p {valid['p_value']:.3g}{_verdict(r)}"
        )
    for name, r in made["sure_texts"].items():
        typer.echo(
            f"{name} on texts that go well when left alone: {_rate(r['treated']['value'])} fail, held out "
            f"{_rate(r['control']['value'])}; at every look {_points(r['always_valid'])}{_verdict(r)}"
        )
    ratio = made["sample_ratio"]
    p_value = "-" if ratio["p_value"] is None else f"{ratio['p_value']:.3g}"
    typer.echo(f"users per arm {ratio['users']}, p {p_value}: the split is {'sound' if ratio['sound'] else 'BROKEN'}")


def _verdict(result: dict[str, Any]) -> str:
    return ("" if result["enough_users"] else " (too few users to act on)") + ("  HARM" if result["harm"] else "")


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _points(interval: dict[str, float | None]) -> str:
    value, low, high = (
        "-" if interval[name] is None else f"{100 * (interval[name] or 0.0):+.2f}" for name in ("value", "low", "high")
    )
    return f"{value} points [{low}, {high}]"
