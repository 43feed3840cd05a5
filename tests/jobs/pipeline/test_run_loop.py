"""One turn of the loop: skips, resumes after kills to the same bytes, publishes only what passed."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.pipeline.record import Record, records
from jobs.run import Keep, Release, run_loop
from jobs.rundir import files_of
from rewrite.registry import Registry
from tests.jobs.pipeline import toy


def shape(root: Path) -> dict[str, Any]:
    """Everything that must not depend on kills: steps, bundles, aliases and reports, byte for byte."""
    registry = Registry(root)
    reports = {r.folder.name: (r.folder / "report.json").read_bytes() for r in records(root)}
    pages = {r.folder.name: (r.folder / "report.html").read_bytes() for r in records(root)}
    return {
        "bundles": files_of(root / "bundles"),
        "steps": files_of(root / "steps"),
        "aliases": registry.aliases(),
        "reports": reports,
        "pages": pages,
    }


def test_a_run_publishes_promotes_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").mkdir()  # as `reprise learn --out bundle` leaves it: it is none of the run's
    report = toy.run(tmp_path)
    registry = Registry(tmp_path)
    assert report["verdict"] == "published"
    assert registry.resolve("champion") == report["bundle"]
    assert [step["name"] for step in report["steps"]] == ["import", "mine", "learn", "evaluate", "gate", "seal"]
    assert report["bundle"] in (tmp_path / "runs" / report["run"] / "report.html").read_text()


def test_every_step_is_told_with_its_time_and_whether_it_was_done_before(tmp_path: Path) -> None:
    told: list[str] = []
    run_loop(replace(toy.plan("a"), say=told.append), tmp_path, steps=toy.steps_of)
    names = ("import", "mine", "learn", "evaluate", "gate", "seal")
    assert told == [line for name in names for line in (f"{name}: begins", f"{name}: done in 0 s")]
    told.clear()
    run_loop(replace(toy.plan("a", harm=0.0015), say=told.append), tmp_path, steps=toy.steps_of)
    assert told[:4] == [
        "import: begins",
        "import: done by an earlier run",
        "mine: begins",
        "mine: done by an earlier run",
    ]
    told.clear()
    run_loop(replace(toy.plan("a"), say=told.append), tmp_path, steps=toy.steps_of)
    assert told == ["nothing new: the same logs, orders and settings ended in this run before"]


def test_the_same_inputs_again_do_nothing(tmp_path: Path) -> None:
    first = toy.run(tmp_path)
    before = files_of(tmp_path)
    assert toy.run(tmp_path) == first
    assert files_of(tmp_path) == before


def test_killed_anywhere_the_next_attempt_ends_in_the_same_bytes(tmp_path: Path) -> None:
    toy.run(tmp_path / "whole", "old")
    toy.run(tmp_path / "whole", "new")
    expected, deaths = shape(tmp_path / "whole"), 0
    for left in range(0, 400, 11):
        root = tmp_path / f"killed-{left}"
        toy.run(root, "old")
        done = subprocess.run([sys.executable, toy.__file__, str(root), str(left), "new"], check=False)
        registry = Registry(root)
        assert registry.path("champion").name in registry.bundles()
        toy.run(root, "new")
        assert shape(root) == expected
        if done.returncode != toy.KILLED:
            assert done.returncode == 0
            break
        deaths += 1
    assert 8 < deaths < 36


def test_killed_again_and_again_it_ends_all_the_same(tmp_path: Path) -> None:
    toy.run(tmp_path / "whole")
    for left in range(0, 400, 23):
        done = subprocess.run([sys.executable, toy.__file__, str(tmp_path / "r"), str(left), "first"], check=False)
        if done.returncode == 0:
            break
    toy.run(tmp_path / "r")
    assert shape(tmp_path / "r") == shape(tmp_path / "whole")


def test_a_failing_gate_publishes_nothing_and_says_why(tmp_path: Path) -> None:
    good = toy.run(tmp_path)
    report = toy.run(tmp_path, "second", harm=0.01)
    assert report["verdict"] == "a gate failed"
    assert report["failing"] == ["quality: harm is 0.01, at most 0.002 is allowed"]
    assert report["bundle"] is None
    assert Registry(tmp_path).aliases() == {"champion": good["bundle"]}
    assert Registry(tmp_path).bundles() == [good["bundle"]]


def test_a_new_champion_names_the_old_one_as_parent(tmp_path: Path) -> None:
    first, second = toy.run(tmp_path), toy.run(tmp_path, "second")
    manifest = json.loads((Registry(tmp_path).path("champion") / "manifest.json").read_text())
    assert manifest["parents"] == [first["bundle"]]
    assert Registry(tmp_path).aliases() == {"champion": second["bundle"], "previous": first["bundle"]}


@pytest.mark.parametrize(("release", "alias"), [(Release.CHALLENGER, "challenger"), (Release.NONE, None)])
def test_what_passed_becomes_what_was_asked_for(tmp_path: Path, release: Release, alias: str | None) -> None:
    report = toy.run(tmp_path, release=release)
    assert Registry(tmp_path).aliases() == ({alias: report["bundle"]} if alias else {})
    assert Registry(tmp_path).bundles() == [report["bundle"]]


def test_an_operator_who_moved_the_champion_meanwhile_is_not_overruled(tmp_path: Path) -> None:
    first, second = toy.run(tmp_path), toy.run(tmp_path, "second")
    run_id = toy.run(tmp_path, "third")["run"]
    record = Record(tmp_path / "runs" / run_id)
    (record.folder / "report.json").unlink()  # as if killed before the end
    Registry(tmp_path).promote(first["bundle"], reason="third looks odd")
    third = toy.run(tmp_path, "third")["bundle"]
    assert Registry(tmp_path).resolve("champion") == first["bundle"]
    assert Registry(tmp_path).resolve("challenger") == third
    assert second["bundle"] in Registry(tmp_path).bundles()


def test_old_runs_go_and_what_is_in_force_stays(tmp_path: Path) -> None:
    first = toy.run(tmp_path)
    for text in ("a", "b", "c", "d"):
        toy.run(tmp_path, text, release=Release.NONE, keep=Keep(runs=2, bundles=2))
    kept = {record.folder.name for record in records(tmp_path)}
    assert first["run"] in kept
    assert len(kept) == 2
    assert first["bundle"] in Registry(tmp_path).bundles()
    assert len(Registry(tmp_path).bundles()) == 2
    steps = {folder.name for folder in (tmp_path / "steps").iterdir()}
    assert {f"{s['name']}-{s['key']}" for s in first["steps"]} <= steps
    assert len(steps) == 12


def test_the_log_of_attempts_has_owner_and_times(tmp_path: Path) -> None:
    report = toy.run(tmp_path)
    log = Record(tmp_path / "runs" / report["run"]).log()
    assert [line["event"] for line in log] == ["attempt", *["step"] * 6, "end"]
    assert log[0]["pid"] > 0
    assert set(log[-1]["seconds"]) == {"import", "mine", "learn", "evaluate", "gate", "seal"}


def test_a_step_finished_by_another_run_is_not_done_again(tmp_path: Path) -> None:
    toy.run(tmp_path)
    report = toy.run(tmp_path, harm=0.0005)
    assert Record(tmp_path / "runs" / report["run"]).log()[-1]["skipped"] == ["import", "mine"]


def test_a_run_whose_champion_was_retired_meanwhile_takes_the_one_in_force(tmp_path: Path) -> None:
    first = toy.run(tmp_path)
    run_id = toy.run(tmp_path, "second")["run"]
    third = toy.run(tmp_path, "third")
    (tmp_path / "runs" / run_id / "report.json").unlink()  # as if killed
    Registry(tmp_path).point("previous", None)
    assert first["bundle"] in Registry(tmp_path).retire(1)
    assert toy.run(tmp_path, "second")["champion_before"] == third["bundle"]
