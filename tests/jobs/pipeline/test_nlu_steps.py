"""The NLU's steps in a run: picks, a gate of its own, and nothing where there is nothing to pick."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from jobs import retrain, select
from jobs.pipeline.nlu import NluPlan, nlu_steps
from jobs.pipeline.step import Step, run_steps


@pytest.fixture
def plan(tmp_path: Path) -> NluPlan:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text('{"id": "m1"}')
    for name in ("train", "held"):
        (tmp_path / name).write_text(name)
    return NluPlan(tmp_path / "model", tmp_path / "train", tmp_path / "held")


def run(plan: NluPlan, root: Path) -> dict[str, Path]:
    mine = Step("mine", lambda folder, needs, scratch: (folder / "mined").mkdir())
    return {done.name: done.folder for done in run_steps([mine, *nlu_steps(plan)], root / "steps")}


def picking(monkeypatch: pytest.MonkeyPatch, passes: bool) -> None:
    def pick(mined: Path, model: Path, held_out: Path, out: Path, **_: Any) -> None:
        out.write_text('{"text": "play jazz"}\n')

    def train(selected: Path, model: Path, train: Path, held_out: Path, out: Path, report: Path, **_: Any) -> None:
        report.write_text(json.dumps({"passed": passes}))
        if not passes:
            raise typer.Exit(3)
        out.mkdir()

    monkeypatch.setattr(select, "select", pick)
    monkeypatch.setattr(retrain, "retrain", train)


@pytest.mark.parametrize("passes", [True, False])
def test_a_bundle_is_left_only_where_the_gate_passed(
    passes: bool, plan: NluPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picking(monkeypatch, passes)
    folders = run(plan, tmp_path)
    assert (folders["retrain"] / "bundle").exists() is passes
    assert json.loads((folders["retrain"] / "verdict.json").read_text()) == {"passed": passes}


def test_a_log_without_anything_to_pick_trains_nothing(
    plan: NluPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> None:
        raise ValueError("nothing to select from")

    monkeypatch.setattr(select, "select", nothing)
    folders = run(plan, tmp_path)
    assert (folders["select"] / "picks.jsonl").read_text() == ""
    assert "nothing to select" in (folders["select"] / "why.txt").read_text()
    assert not (folders["retrain"] / "bundle").exists()


def test_another_model_or_other_rows_are_other_steps(plan: NluPlan) -> None:
    keys = [step.settings for step in nlu_steps(plan)]
    (plan.model / "manifest.json").write_text('{"id": "m2"}')
    assert [step.settings for step in nlu_steps(plan)] != keys
