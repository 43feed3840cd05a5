"""A toy loop: the pipeline's own shape with steps that take milliseconds; run as a script it dies where it is told to.

`python toy.py REGISTRY LEFT` runs it in a process that dies just before its LEFT-th change to the disk.
"""

import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))

from jobs.learn import LearnConfig
from jobs.pipeline.checks import Limits
from jobs.pipeline.gate import Gate
from jobs.pipeline.step import Paths, Step
from jobs.pipeline.steps import Plan
from jobs.run import run_loop
from jobs.rundir import write_json
from mining.config import MineConfig
from rewrite.bundle import pack

KILLED = 9


def plan(text: str = "first", harm: float = 0.001) -> Plan:
    """`text` stands for the log, `harm` for what its bundle does."""
    return Plan((Path(text),), MineConfig(), LearnConfig(harm=harm), Limits())


def steps_of(plan: Plan, run_id: str) -> list[Step]:
    """import, mine, learn, evaluate, gate, seal."""
    text, champion = str(plan.logs[0]), plan.champion.name if plan.champion else None

    def mine(folder: Path, needs: Paths, scratch: Path) -> None:
        (folder / "mined").mkdir()
        write_json(folder / "mined" / "manifest.json", {"window": {"first": "2026-01-01", "last": "2026-01-28"}})

    def learn(folder: Path, needs: Paths, scratch: Path) -> None:
        checkpoint = scratch / "checkpoint"
        checkpoint.write_text(str(int(checkpoint.read_text()) + 1 if checkpoint.exists() else 1))
        (folder / "model.txt").write_text(text)

    def evaluate(folder: Path, needs: Paths, scratch: Path) -> None:
        write_json(folder / "evaluation.json", {"harm": plan.learning.harm, "champion": champion})

    def gate(folder: Path, needs: Paths, scratch: Path) -> None:
        gates = [Gate("quality", "harm", plan.learning.harm, 0.002), Gate("data", "drift", None, 0.1, optional=True)]
        write_json(folder / "gates.json", [g.as_dict() for g in gates])

    def seal(folder: Path, needs: Paths, scratch: Path) -> None:
        def write(out: Path) -> None:
            (out / "model.txt").write_text((needs["learn"] / "model.txt").read_text())

        pack(folder / "bundle", write, {"run": run_id, "parents": [champion] if champion else []})

    settings = {"harm": plan.learning.harm}
    return [
        Step("import", lambda folder, needs, scratch: write_json(folder / "inputs.json", [text]), {"text": text}),
        Step("mine", mine, {}, ("import",)),
        Step("learn", learn, settings, ("mine",)),
        Step("evaluate", evaluate, {"champion": champion}, ("mine", "learn")),
        Step("gate", gate, {}, ("mine", "learn", "evaluate")),
        Step("seal", seal, {"champion": champion, "run": run_id}, ("learn", "evaluate", "gate")),
    ]


def run(root: Path, text: str = "first", harm: float = 0.001, **more: Any) -> dict[str, Any]:
    """One turn of the toy loop."""
    return run_loop(plan(text, harm), root, steps=steps_of, **more)


def _die_after(left: int) -> None:
    def dying(call: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(KILLED)
            return call(*args, **kwargs)

        return counted

    for name in ("fsync", "write", "rename", "replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, dying(getattr(os, name)))


if __name__ == "__main__":
    _die_after(int(sys.argv[2]))
    run(Path(sys.argv[1]), sys.argv[3])
