"""The NLU in a run: pick logged requests worth retraining on, retrain, and keep the result if its gate passes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from jobs.pipeline.step import Paths, Step


@dataclass(frozen=True)
class NluPlan:
    """What selection and retraining need.

    Attributes:
        model: NLU bundle in force. train: rows that it was trained on. held_out: labelled rows for the gate.
        held_out_text: column of their text, where it is not the usual one.
    """

    model: Path
    train: Path
    held_out: Path
    held_out_text: str | None = None
    threads: int = 1

    def data(self) -> dict[str, Any]:
        """What identifies the rows."""
        from jobs.rundir import sha256

        return {"train": sha256(self.train), "held_out": sha256(self.held_out), "text": self.held_out_text}


def nlu_steps(plan: NluPlan) -> list[Step]:
    """select, retrain."""
    import json

    model = json.loads((plan.model / "manifest.json").read_text(encoding="utf-8"))["id"]
    settings = {"model": model, **plan.data()}
    return [
        Step("select", Select(plan), settings, ("mine",)),
        Step("retrain", Retrain(plan), settings, ("select",)),
    ]


@dataclass(frozen=True)
class Select:
    """Write picks.jsonl, empty where the log has nothing to offer; `why.txt` says why then."""

    plan: NluPlan

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:
        from jobs import select

        plan, picks = self.plan, folder / "picks.jsonl"
        try:
            select.select(
                needs["mine"] / "mined",
                plan.model,
                plan.held_out,
                picks,
                text_column=plan.held_out_text,
                threads=plan.threads,
            )
        except ValueError as error:
            picks.write_text("", encoding="utf-8")
            (folder / "why.txt").write_text(f"{error}\n", encoding="utf-8")


@dataclass(frozen=True)
class Retrain:
    """Write verdict.json and, if the gate let it pass, the NLU bundle."""

    plan: NluPlan

    def __call__(self, folder: Path, needs: Paths, scratch: Path) -> None:
        from jobs import retrain

        plan, picks = self.plan, needs["select"] / "picks.jsonl"
        if not picks.read_text(encoding="utf-8").strip():
            return
        try:
            retrain.retrain(
                picks,
                plan.model,
                plan.train,
                plan.held_out,
                folder / "bundle",
                held_out_text=plan.held_out_text,
                report=folder / "verdict.json",
                threads=plan.threads,
            )
        except typer.Exit:  # the gate refused, and its report says why
            return
