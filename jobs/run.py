"""`reprise run`: one turn of the loop, to be called by cron, Kubernetes or Airflow as often as wanted."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.threads import default_threads

if TYPE_CHECKING:
    from jobs.pipeline.lock import Lock
    from jobs.pipeline.nlu import NluPlan
    from jobs.pipeline.record import Record
    from jobs.pipeline.step import Done, Step
    from jobs.pipeline.steps import Plan
    from rewrite.registry import Registry

GATE_FAILED = 3
LOCKED = 4


class Release(StrEnum):
    """What becomes of a bundle that passed its gates."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    NONE = "none"


@dataclass(frozen=True)
class Keep:
    """How much of the past stays."""

    runs: int = 14
    bundles: int = 7


def run(
    logs: Annotated[list[Path], typer.Argument(help="Parquet or JSON-lines files or folders.")],
    registry: Annotated[Path, typer.Option(help="Folder of bundles, runs and their steps.")],
    release: Annotated[
        Release, typer.Option(help="What a bundle that passes becomes: champion (at once), challenger, or none.")
    ] = Release.CHAMPION,
    gates: Annotated[Path | None, typer.Option(help="TOML file of thresholds; else the defaults.")] = None,
    incidents: Annotated[Path | None, typer.Option(help="JSON lines of requests with a known right answer.")] = None,
    blocked: Annotated[Path | None, typer.Option(help="Texts that may never come out, one a line.")] = None,
    forget: Annotated[Path | None, typer.Option(help="User ids, one a line, of whom no trace may remain.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="The service's state folder: its exposures, forgotten users and blocked texts.")
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            help="Publish only what the exposure log, where it tells of enough users, proves better than the champion; "
            "else what it does not prove worse."
        ),
    ] = False,
    nlu: Annotated[Path | None, typer.Option(help="First NLU bundle; later ones are kept in the registry.")] = None,
    nlu_train: Annotated[Path | None, typer.Option(help="Rows that the NLU was trained on.")] = None,
    nlu_held_out: Annotated[Path | None, typer.Option(help="Labelled rows for the NLU's gate.")] = None,
    nlu_text: Annotated[str | None, typer.Option(help="Column of the held-out rows' text.")] = None,
    min_users: Annotated[int, typer.Option(help="Distinct users a text must have worked for to be global.")] = 5,
    steps: Annotated[int, typer.Option(min=0, help="Training steps of the generator, as of `reprise learn`.")] = 0,
    model: Annotated[str, typer.Option(help="Where the generator starts, as of `reprise learn`.")] = "none",
    harm: Annotated[float, typer.Option(min=0, max=1, help="Share of good turns that may be rewritten wrong.")] = 0.002,
    replayed: Annotated[int, typer.Option(min=100, help="Held-back turns to compare bundles on, about.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
    memory: Annotated[str, typer.Option(help="Java heap of a local Spark.")] = "4g",
    cores: Annotated[int, typer.Option(min=0, help="Cores of a local Spark; 0: all.")] = 0,
    keep_runs: Annotated[int, typer.Option(min=1, help="Ended runs to keep.")] = 14,
    keep_bundles: Annotated[int, typer.Option(min=1, help="Bundles to keep, besides those in use.")] = 7,
    stale_s: Annotated[
        float, typer.Option(min=1, help="Silence after which a run is taken for dead, seconds.")
    ] = 120.0,
    mlflow: Annotated[
        str | None, typer.Option(help="MLflow server to tell of the run; needs the package mlflow.")
    ] = None,
) -> None:
    """Mine, learn, evaluate, gate and publish; skips what is done, resumes what was killed.

    Exit codes: 0 published or nothing new, 1 a fault, 2 bad input or settings, 3 a gate failed and nothing was
    published, 4 another run is under way.
    """
    from jobs.bundles import check_registry
    from jobs.learn import LearnConfig
    from jobs.mine import check_logs, check_memory
    from jobs.pipeline.checks import Limits
    from jobs.pipeline.incidents import read_incidents
    from jobs.pipeline.lock import Lock, Locked
    from jobs.pipeline.mlflow_export import check_installed, export
    from jobs.pipeline.steps import Plan
    from jobs.progress import teller
    from mining.config import MineConfig

    check_registry(registry)
    check_memory(memory)
    if model == "scratch" and not steps:
        raise ValueError("a generator from random weights needs training: got --steps 0; expected some thousands")
    if mlflow is not None:
        check_installed()
    if incidents is not None:
        read_incidents(incidents)
    plan = Plan(
        tuple(logs),
        MineConfig(min_users=min_users),
        LearnConfig(steps, None if model == "none" else model, harm, seed, threads),
        Limits.read(gates),
        replayed=replayed,
        incidents=incidents,
        prove=prove,
        **_orders(registry, state, blocked, forget),
        memory=memory,
        cores=cores or None,
        nlu=_nlu(registry, nlu, nlu_train, nlu_held_out, nlu_text, threads),
        say=teller(),
    )
    try:
        with Lock(registry / "run.lock", stale_s).held() as lock:
            check_logs(logs)
            report = run_loop(plan, registry, release, Keep(keep_runs, keep_bundles), lock)
    except Locked as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(LOCKED) from error
    if mlflow is not None:
        export(report, registry / "runs" / report["run"], mlflow)
    typer.echo(f"run {report['run']}: {report['verdict']}; report {registry / 'runs' / report['run'] / 'report.html'}")
    for why in report["failing"]:
        typer.echo(f"  gate failed, {why}", err=True)
    if report["failing"]:
        raise typer.Exit(GATE_FAILED)


def _orders(registry: Path, state: Path | None, blocked: Path | None, forget: Path | None) -> dict[str, Any]:
    """What may not come out, from the files named, the service's orders, and pairs withdrawn by an experiment."""
    from jobs.experiment.watch import condemned, withdrawn
    from rewrite.registry import Registry
    from rewrite.text import normalise

    texts = {normalise(line) for line in _lines(blocked)}
    users, epoch, exposures = set(_lines(forget)), 0, None
    if state is not None:
        _check_state(state, registry)
        if state.is_dir():
            from serving.tombstones import TombstoneLog

            hidden = TombstoneLog(state).hidden
            texts |= set(hidden.blocked)
            users |= set(hidden.users)
            epoch = hidden.epoch
            exposures = state / "exposures" if (state / "exposures").is_dir() else None
    return {
        "blocked": tuple(sorted(texts - {""})),
        "forgotten": tuple(sorted(users)),
        "withdrawn": tuple(sorted(withdrawn(registry))),
        "condemned": tuple(sorted(condemned(Registry(registry)))),
        "epoch": epoch,
        "exposures": exposures,
    }


def _check_state(state: Path, registry: Path) -> None:
    """Before the service has run its folder may be missing, but not once a bundle was made by its orders.

    Raises:
        ValueError: it is a file, or it is gone and with it orders that the champion was made by.
    """
    from rewrite.registry import Registry

    if state.is_file():
        raise ValueError(
            f"--state is a file; got {state}; expected the folder given to `reprise serve`; a typing slip?"
        )
    if state.is_dir():
        return
    reg = Registry(registry)
    if reg.resolve("champion") is not None:
        epoch = json.loads((reg.path("champion") / "manifest.json").read_text(encoding="utf-8")).get("deletion_epoch")
        if epoch:
            raise ValueError(
                f"no state folder; got {state}; expected one with the {epoch} orders that the champion was made by: "
                "without them forgotten users and blocked texts would come back; a typing slip?"
            )
    typer.echo(
        f"{state}: no such folder; this run knows of no exposures, forgotten users or blocked texts of a service; "
        f"`reprise serve --state {state}` makes it; a typing slip?",
        err=True,
    )


def _nlu(
    root: Path, first: Path | None, train: Path | None, held_out: Path | None, text: str | None, threads: int
) -> "NluPlan | None":
    """The NLU's side of the plan: the champion of REG/nlu, else the bundle given."""
    from jobs.pipeline.nlu import NluPlan
    from rewrite.registry import Registry

    if first is None and train is None and held_out is None:
        return None
    kept = Registry(root / "nlu")
    model = kept.path("champion") if kept.resolve("champion") is not None else first
    if model is None or train is None or held_out is None:
        raise ValueError(
            "retraining the NLU needs all of --nlu, --nlu-train and --nlu-held-out; one of them is missing"
        )
    return NluPlan(model, train, held_out, text, threads)


def _lines(path: Path | None) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path is not None else []
    return [line.strip() for line in lines if line.strip()]


def run_loop(
    plan: "Plan",
    root: Path,
    release: Release = Release.CHAMPION,
    keep: Keep = Keep(),
    lock: "Lock | None" = None,
    steps: "Callable[[Plan, str], list[Step]] | None" = None,
) -> dict[str, Any]:
    """Run one turn of the loop for the holder of `lock`; returns the report.

    The champion that the new bundle is compared with is fixed when the run first begins, so that an attempt after a
    kill, even one between publishing and reporting, makes the same bytes.

    Args:
        steps: the steps of a plan and a run id; the loop's own if None.

    Raises:
        ValueError: bad input. LockLost: another run took over.
    """
    from jobs.pipeline.record import Record, retire
    from jobs.pipeline.step import run_steps
    from jobs.pipeline.steps import steps_of
    from rewrite.registry import Registry

    registry, of = Registry(root), steps or steps_of
    run_id = _id(plan, of, release)
    record = Record(root / "runs" / run_id)
    if (ended := record.report()) is not None:
        plan.say("nothing new: the same logs, orders and settings ended in this run before")
        return ended
    pinned = {"champion": registry.resolve("champion"), "nlu": None if plan.nlu is None else str(plan.nlu.model)}
    begun = record.begin({"run": run_id, **pinned, "release": str(release)})
    if begun["champion"] not in (None, *registry.bundles()):  # killed so long ago that its champion was retired
        begun = record.begin({"run": run_id, **pinned, "release": str(release)}, anew=True)
    if plan.nlu is not None and begun["nlu"] is not None:
        plan = replace(plan, nlu=replace(plan.nlu, model=Path(begun["nlu"])))
    with ExitStack() as stack:
        champion = stack.enter_context(registry.hold(begun["champion"])) if begun["champion"] else None

        def before(step: "Step", key: str) -> None:
            if lock is not None:
                lock.check()
            record.note("step", step=step.name, key=key)
            plan.say(f"{step.name}: begins")

        done = run_steps(of(replace(plan, champion=champion), run_id), root / "steps", before, partial(_say_done, plan))
        if lock is not None:
            lock.check()
        report = _publish(registry, record, begun, release, done)
    retire(root, keep.runs, done)
    registry.retire(keep.bundles, by=f"run {run_id}")
    return report


def _say_done(plan: "Plan", done: "Done") -> None:
    plan.say(f"{done.name}: " + ("done by an earlier run" if done.skipped else f"done in {done.seconds:.0f} s"))


def _id(plan: "Plan", of: "Callable[[Plan, str], list[Step]]", release: Release) -> str:
    """Of a run: what goes in and what is done with it, whatever the champions."""
    from jobs.pipeline.step import digest

    steps = [[s.name, s.version, dict(s.settings)] for s in of(replace(plan, champion=None, nlu=None), "")]
    return digest([steps, str(release), None if plan.nlu is None else plan.nlu.data()])


def _publish(
    registry: "Registry", record: "Record", begun: dict[str, Any], release: Release, done: "list[Done]"
) -> dict[str, Any]:
    """Publish what passed, move the alias, write the reports; safe to do again after a kill at any point."""
    from jobs.pipeline.page import render
    from jobs.pipeline.steps import read
    from rewrite.registry import Registry

    folders = {d.name: d.folder for d in done}
    gates = read(folders["gate"] / "gates.json")
    failing = [_why(gate) for gate in gates if gate["verdict"] == "fail"]
    bundle = None
    if not failing:
        bundle = registry.publish(folders["seal"] / "bundle", by=f"run {begun['run']}")
        _release(registry, bundle, begun, release)
    if "retrain" in folders and (folders["retrain"] / "bundle").exists():  # it has passed a gate of its own
        nlu = Registry(registry.root / "nlu")
        nlu.promote(nlu.publish(folders["retrain"] / "bundle"), by=f"run {begun['run']}", reason="its gate passed")
    report = {
        "run": begun["run"],
        "verdict": "a gate failed" if failing else "published",
        "bundle": bundle,
        "released": None if failing or release is Release.NONE else str(release),
        "champion_before": begun["champion"],
        "window": read(folders["mine"] / "mined" / "manifest.json")["window"],
        "gates": gates,
        "experiment": read(folders["evaluate"] / "evaluation.json").get("experiment"),
        "failing": failing,
        "steps": [{"name": d.name, "key": d.key} for d in done],
    }
    record.note("end", seconds={d.name: round(d.seconds, 3) for d in done}, skipped=[d.name for d in done if d.skipped])
    record.end(report, render(report))
    return report


def _release(registry: "Registry", bundle: str, begun: dict[str, Any], release: Release) -> None:
    by, reason = f"run {begun['run']}", "gates passed"
    # an operator who moved the champion while this run was under way knows better than the run
    moved = registry.resolve("champion") not in (begun["champion"], bundle)
    if release is Release.CHAMPION and not moved:
        registry.promote(bundle, by=by, reason=reason)
    elif release is not Release.NONE and registry.resolve("champion") != bundle:
        registry.point("challenger", bundle, by=by, reason="champion changed meanwhile" if moved else reason)


def _why(gate: dict[str, Any]) -> str:
    from jobs.pipeline.gate import Gate

    return Gate(**{name: value for name, value in gate.items() if name != "verdict"}).why()
