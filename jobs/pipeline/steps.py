"""The loop's own steps: import, mine, learn, evaluate, gate, seal. Each reads folders and writes one."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.pipeline import checks
from jobs.pipeline.nlu import NluPlan, nlu_steps
from jobs.pipeline.step import Paths, Step, digest
from jobs.progress import quiet
from jobs.rundir import write_json

if TYPE_CHECKING:
    from jobs.learn import LearnConfig
    from mining.config import MineConfig
    from rewrite import Rewriter


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run makes.

    Attributes:
        logs: files or folders of the interaction log.
        champion: folder of the bundle in force when the run began, None for the first.
        replayed: held-back turns on which champion and challenger are compared, about.
        incidents: JSON lines of requests with a known right answer, where there is such a file.
        blocked, withdrawn: texts that may not come out, and pairs (source, target) that may not be made.
        forgotten: user ids of whom no trace may remain; `epoch` is the last order of the service that is among them.
        exposures: folder of the service's exposure log.
        condemned: bundles that were rolled back: what they did is no measure for another.
        prove: publish only what the exposure log, where it tells of enough users, proves better than the champion.
        nlu: what selection and retraining need; None leaves the NLU alone.
        say: told what is under way, in lines for people; decides nothing.
    """

    logs: tuple[Path, ...]
    mining: "MineConfig"
    learning: "LearnConfig"
    limits: checks.Limits
    champion: Path | None = None
    replayed: int = 2_000
    incidents: Path | None = None
    blocked: tuple[str, ...] = ()
    withdrawn: tuple[tuple[str, str], ...] = ()
    forgotten: tuple[str, ...] = ()
    epoch: int = 0
    exposures: Path | None = None
    condemned: tuple[str, ...] = ()
    prove: bool = False
    memory: str = "4g"
    cores: int | None = None
    nlu: NluPlan | None = None
    say: Callable[[str], None] = quiet


def steps_of(plan: Plan, run_id: str) -> list[Step]:
    """The steps of one run, in order."""
    from jobs.mine import Models, fingerprints
    from jobs.rundir import sha256

    inputs = fingerprints(list(plan.logs))
    shown = fingerprints([plan.exposures]) if plan.exposures is not None and any(plan.exposures.iterdir()) else []
    champion = plan.champion.name if plan.champion is not None else None
    known = plan.incidents and sha256(plan.incidents)
    taken_out = {"blocked": digest(sorted(plan.blocked)), "withdrawn": digest(sorted(plan.withdrawn))}
    learning = {name: value for name, value in asdict(plan.learning).items() if name != "threads"}
    replayed = {"champion": champion, "replayed": plan.replayed, "incidents": known}
    judged = {**replayed, "condemned": sorted(plan.condemned), **taken_out}
    mining = {**Models.read().applied_to(plan.mining).as_dict(), "forgotten": digest(sorted(plan.forgotten))}
    return [
        Step("import", Import(inputs, shown, plan), {"inputs": inputs, "exposures": shown}, version=3),
        Step("mine", Mine(plan), mining, ("import",), version=2),
        Step("learn", Learn(plan), {**learning, **taken_out}, ("mine",), version=2),
        *(nlu_steps(plan.nlu) if plan.nlu is not None else []),
        Step("evaluate", Evaluate(plan), judged, ("mine", "learn"), version=4),
        Step("gate", GateStep(plan), {**plan.limits.as_dict(), "prove": plan.prove}, ("mine", "learn", "evaluate")),
        Step(
            "seal",
            Seal(plan, run_id),
            {"champion": champion, "run": run_id, "epoch": plan.epoch},
            ("mine", "learn", "evaluate", "gate"),
        ),
    ]


@dataclass(frozen=True)
class Import:
    """Name the files of this run; where the service kept an exposure log, write them with what it says."""

    inputs: list[dict[str, Any]]
    shown: list[dict[str, Any]]
    plan: Plan

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:
        from jobs.pipeline.importing import Exposures, with_exposures

        write_json(folder / "inputs.json", {"logs": self.inputs, "exposures": self.shown})
        if self.shown and self.plan.exposures is not None:
            files = [Path(entry["path"]) for entry in self.inputs]
            with_exposures(files, Exposures.read(self.plan.exposures), folder / "logs")


@dataclass(frozen=True)
class Mine:
    """The Spark job, on the files that import named."""

    plan: Plan

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:
        from jobs import mine
        from jobs.mine import Guard

        joined = needs["import"] / "logs"
        named = [Path(entry["path"]) for entry in read(needs["import"] / "inputs.json")["logs"]]
        logs = [joined] if joined.exists() else named
        guard = Guard(forgotten=self.plan.forgotten)
        plan, out = self.plan, folder / "mined"
        told = mine.run(logs, out, plan.mining, guard=guard, memory=plan.memory, cores=plan.cores, say=self._say)
        for line in told:
            self._say(line.removeprefix(f"{out}: "))
        _stop_spark()

    def _say(self, message: str) -> None:
        self.plan.say(f"mine: {message}")


def _stop_spark() -> None:
    """End the session that mining left open, so that learning has its memory."""
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()


@dataclass(frozen=True)
class Learn:
    """Train, calibrate, pack; the scratch folder keeps checkpoints, and the bundle should a kill come after packing."""

    plan: Plan

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:
        from jobs import learn
        from jobs.pipeline.taking_out import take_out

        out, plan = scratch / "bundle", self.plan
        if not out.exists():
            mined = take_out(needs["mine"] / "mined", scratch / "mined", set(plan.blocked), set(plan.withdrawn))
            learn.run(mined, out, plan.learning, lambda message: plan.say(f"learn: {message}"))
        shutil.copytree(out, folder / "bundle")


@dataclass(frozen=True)
class Evaluate:
    """Replay held-back turns through challenger and champion; time it."""

    plan: Plan

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:

        import numpy as np
        import torch

        from jobs.pipeline import incidents, replay
        from rewrite import Rewriter

        torch.set_num_threads(self.plan.learning.threads)
        mined = needs["mine"] / "mined"
        judged = replay.judged_sample(mined, self.plan.replayed)
        challenger = Rewriter.load(needs["learn"] / "bundle")
        ours = replay.replay(judged, challenger)
        fine = int((~ours.outcomes.defect).sum())
        result = {
            "turns": len(judged),
            "figures": replay.figures(ours),
            "intent_flips": round(float(ours.flips.sum()) / max(1, fine), 6),
            "sure": replay.spoiled(judged, ours, incidents.sure_texts(mined)),
            "incidents": self._incidents(challenger),
            "blocked": self._blocked(challenger),
            **self._against_champion(judged, ours),
            "offpolicy": self._offpolicy(mined, needs["learn"] / "bundle", scratch),
            "experiment": _experiment(mined, self.plan.champion),
        }  # fmt: skip
        write_json(folder / "evaluation.json", result)
        write_json(folder / "latency.json", {"p95_ms": round(float(np.quantile(ours.latency_ms, 0.95)), 3)})

    def _incidents(self, challenger: "Rewriter") -> list[dict[str, str | None]] | None:
        from jobs.pipeline import incidents

        if self.plan.incidents is None:
            return None
        return incidents.broken(incidents.read_incidents(self.plan.incidents), challenger)

    def _blocked(self, challenger: "Rewriter") -> list[str]:
        return sorted(set(self.plan.blocked) & challenger.scorer.knowledge.known.keys())

    def _against_champion(self, judged: Any, ours: Any) -> dict[str, Any]:
        from jobs.pipeline import replay
        from rewrite import Rewriter

        if self.plan.champion is None:
            return {"champion": None, "slices": None}
        theirs = replay.replay(judged, Rewriter.load(self.plan.champion))
        slices = replay.worse_slices(judged, ours, theirs)
        return {"champion": replay.figures(theirs), "slices": slices}

    def _offpolicy(self, mined: Path, bundle: Path, scratch: Path) -> dict[str, Any] | None:
        """What the exposure log says of the challenger; None where it says nothing of days that neither has seen."""
        from jobs.counterfactual.exposures import NothingExposed
        from jobs.offpolicy import judge_bundle
        from jobs.pipeline.taking_out import take_out

        plan = self.plan
        if not _exposed(mined):
            return None
        left = take_out(mined, scratch / "mined", set(plan.blocked), set(plan.withdrawn))
        try:
            return judge_bundle(left, bundle, plan.champion, frozenset(plan.condemned))
        except NothingExposed:
            return None


def _exposed(mined: Path) -> bool:
    """Whether the log knows of any turn on which Reprise was asked."""
    import pyarrow.parquet as pq

    turns = pq.read_table(mined / "turns", columns=["rewrite"])
    return bool(turns["rewrite"].null_count < turns.num_rows)


def _experiment(mined: Path, champion: Path | None) -> dict[str, Any] | None:
    """What became of users under the champion against those held out; None where nobody was asked under it."""
    from jobs import ab
    from jobs.experiment.logs import asked_turns, holdout_share, in_force

    name = champion.name if champion is not None else None
    if name is None or not _exposed(mined):
        return None
    turns = asked_turns(mined)
    if not in_force(turns, (name,)).num_rows:
        return None
    share = holdout_share(turns)
    return ab.report_of(turns, name, None, {"holdout": share, "champion": 1 - share})


@dataclass(frozen=True)
class GateStep:
    """Measure the data, and give every gate its verdict."""

    plan: Plan

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:
        from jobs.pipeline.profile import profile

        mined, bundle, limits = needs["mine"] / "mined", needs["learn"] / "bundle", self.plan.limits
        champion = self.plan.champion
        now, before = profile(mined), None
        if champion is not None and (champion / "profile.json").is_file():
            before = read(champion / "profile.json")
        replayed = read(needs["evaluate"] / "evaluation.json")
        learned = read(bundle / "manifest.json")
        size = sum(entry["bytes"] for entry in learned["files"].values())
        gates = [
            *checks.data_gates(now, before, new_pairs(bundle, champion), limits),
            *checks.quality_gates(learned["figures"], replayed, limits),
            *checks.offpolicy_gates(replayed["offpolicy"], self.plan.prove, limits.supported),
            *checks.safety_gates(replayed, limits),
            *checks.cost_gates(read(needs["evaluate"] / "latency.json")["p95_ms"], size, limits),
        ]
        write_json(folder / "gates.json", [gate.as_dict() for gate in gates])
        write_json(folder / "profile.json", now)


def new_pairs(bundle: Path, champion: Path | None) -> float | None:
    """Share of a bundle's mined pairs that the champion does not have; None without a champion or without pairs."""
    import pyarrow.parquet as pq

    if champion is None:
        return None
    ours, theirs = (
        set(zip(t["source"].to_pylist(), t["target"].to_pylist(), strict=True))
        for t in (
            pq.read_table(b / "global" / "rewrites.parquet", columns=["source", "target"]) for b in (bundle, champion)
        )
    )
    return len(ours - theirs) / len(ours) if ours else None


@dataclass(frozen=True)
class Seal:
    """Pack what was learned with its card, its gates' verdicts and its lineage: the bundle that may be published.

    What a clock measured stays out of it, so that the same inputs give the same bytes.
    """

    plan: Plan
    run_id: str

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:
        from rewrite.bundle import pack

        learned = needs["learn"] / "bundle"
        manifest = read(learned / "manifest.json")
        champion = self.plan.champion
        gates = [_timeless(gate) for gate in read(needs["gate"] / "gates.json")]
        kept = ("config", "data_window", "figures")
        facts: dict[str, Any] = {name: manifest[name] for name in kept if name in manifest}
        facts |= {"parents": [champion.name] if champion is not None else [], "run": self.run_id}
        facts |= {
            "deletion_epoch": self.plan.epoch,
            "learned": manifest["id"],
            "mine": needs["mine"].name,
            "gates": gates,
        }

        def write(out: Path) -> None:
            for name in manifest["files"]:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(learned / name, out / name)
            shutil.copyfile(needs["gate"] / "profile.json", out / "profile.json")
            (out / "README.md").write_text(_card(facts, needs), encoding="utf-8")

        pack(folder / "bundle", write, facts)


def _card(facts: Mapping[str, Any], needs: Paths) -> str:
    from jobs.pipeline.card import card

    return card(facts, facts["gates"], read(needs["evaluate"] / "evaluation.json"))


def _timeless(gate: Mapping[str, Any]) -> dict[str, Any]:
    timed = "latency" in gate["name"]
    return {**gate, "value": None, "note": "measured in the run's report"} if timed else dict(gate)


def read(path: Path) -> Any:
    """A JSON file's value."""
    return json.loads(path.read_text(encoding="utf-8"))
