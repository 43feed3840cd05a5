"""`reprise run` and `reprise bundles` at the command line: exit codes, lists, lineage."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from jobs import run as run_job
from jobs.bundles import app, trace
from rewrite.bundle import pack
from rewrite.registry import Registry
from tests.jobs.pipeline import toy
from tests.jobs.test_cli import HEAVY

PAIR = {"source": "play alien", "target": "play ancient"}
ROOT = Path(__file__).parents[3]


def bundle(folder: Path, pairs: list[dict[str, str]], texts: list[str], **facts: Any) -> Path:
    def write(part: Path) -> None:
        (part / "global").mkdir()
        pq.write_table(pa.Table.from_pylist(pairs), part / "global" / "rewrites.parquet")
        pq.write_table(pa.Table.from_pylist([{"text": t} for t in texts]), part / "global" / "utterances.parquet")

    pack(folder, write, {"parents": [], "figures": {"harm": 0.001 * len(texts)}, **facts})
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "reg")
    other = {"source": "x", "target": "stop"}
    made.promote(made.publish(bundle(tmp_path / "a", [other], ["stop"])))
    facts = {"run": "r2", "mine": "mine-k2"}
    made.promote(made.publish(bundle(tmp_path / "b", [other, PAIR], ["stop", "play ancient"], **facts)))
    mined = tmp_path / "reg" / "steps" / "mine-k2" / "mined"
    (mined / "reformulations").mkdir(parents=True)
    evidence = [{**PAIR, "users": 3, "examples": ["i1>i2", "i7>i8"]}]
    pq.write_table(pa.Table.from_pylist(evidence), mined / "reformulations" / "part-0.parquet")
    (mined / "manifest.json").write_text(json.dumps({"inputs": [{"path": "logs/1.parquet"}]}))
    return made


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_list_names_aliases_and_figures(registry: Registry) -> None:
    lines = call("list", "--registry", str(registry.root)).output.splitlines()
    assert [line.split()[-1] for line in lines] == ["previous", "champion"]
    rows = json.loads(call("list", "--registry", str(registry.root), "--json").output)
    assert [row["aliases"] for row in rows] == [["previous"], ["champion"]]


def test_a_diff_tells_what_came_and_went(registry: Registry) -> None:
    found = json.loads(call("diff", "previous", "champion", "--registry", str(registry.root), "--json").output)
    assert found["pairs_added"] == [["play alien", "play ancient"]]
    assert found["texts_added"] == ["play ancient"]
    assert found["pairs_removed"] == found["texts_removed"] == []
    assert found["figures"]["harm"] == [0.001, 0.002]
    assert "texts added: 1" in call("diff", "previous", "champion", "--registry", str(registry.root)).output


def test_lineage_leads_to_the_run_the_files_and_the_interactions(registry: Registry) -> None:
    found = trace(registry, "champion", "Play  alien", "play ancient")
    assert found["run"] == "r2"
    assert found["inputs"] == ["logs/1.parquet"]
    assert found["interactions"] == ["i1", "i2", "i7", "i8"]
    with pytest.raises(ValueError, match="no mined pair"):
        trace(registry, "champion", "a", "b")


def test_promoting_and_rolling_back_are_on_record(registry: Registry) -> None:
    before = registry.aliases()
    root = str(registry.root)
    assert call("promote", "previous", "--registry", root, "--by", "ann", "--reason", "better").exit_code == 0
    assert registry.resolve("champion") == before["previous"]
    assert call("rollback", "--registry", root, "--by", "ann").exit_code == 0
    assert registry.aliases() == before
    assert [(e["event"], e["by"]) for e in registry.history()[-2:]] == [("promote", "ann"), ("rollback", "ann")]


def test_rolling_back_from_the_command_line_loads_nothing_heavy(registry: Registry) -> None:
    """What makes it a matter of half a second: interpreter, command line, two small files."""
    script = (
        "import sys; from jobs import cli\n"
        f"try: cli.main(['rollback', '--registry', {str(registry.root)!r}])\n"
        "except SystemExit as stopped: assert not stopped.code, stopped.code\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    before = registry.aliases()
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"
    assert registry.resolve("champion") == before["previous"]


def arguments(root: Path) -> dict[str, Any]:
    return {"logs": [root / "none"], "registry": root / "reg"}


def test_a_run_that_finds_another_under_way_has_its_own_exit_code(tmp_path: Path) -> None:
    from jobs.pipeline.lock import Lock

    started = time.monotonic()
    with Lock(tmp_path / "reg" / "run.lock").held(), pytest.raises(typer.Exit) as ended:
        run_job.run(**arguments(tmp_path))
    assert ended.value.exit_code == run_job.LOCKED
    assert time.monotonic() - started < 5


def test_a_run_stopped_by_a_gate_has_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = toy.run(tmp_path / "reg", harm=0.5)
    monkeypatch.setattr(run_job, "run_loop", lambda *_: report)
    monkeypatch.setattr("jobs.mine.check_logs", lambda _: None)
    with pytest.raises(typer.Exit) as ended:
        run_job.run(**arguments(tmp_path))
    assert ended.value.exit_code == run_job.GATE_FAILED
    assert "gate failed, quality: harm is 0.5" in capsys.readouterr().err


def test_the_services_orders_reach_the_plan(tmp_path: Path) -> None:
    from serving.tombstones import TombstoneLog

    orders = TombstoneLog(tmp_path / "state")
    orders.forget("u1")
    orders.block("Rude  Text")
    (tmp_path / "blocked").write_text("Also this\n\n")
    found = run_job._orders(tmp_path / "reg", tmp_path / "state", tmp_path / "blocked", None)
    assert found["blocked"] == ("also this", "rude text")
    assert found["forgotten"] == ("u1",)
    assert found["epoch"] == 2
    assert found["exposures"] is None


def test_a_state_folder_that_is_not_there_is_told_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run_job._orders(tmp_path / "reg", tmp_path / "stat", None, None)
    assert (found["epoch"], found["exposures"]) == (0, None)
    told = capsys.readouterr().err
    assert f"{tmp_path / 'stat'}: no such folder; this run knows of no exposures, forgotten users or blocked" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "stat").exists()


def test_a_state_folder_is_missed_once_a_champion_was_made_by_its_orders(tmp_path: Path, registry: Registry) -> None:
    facts = {"deletion_epoch": 2}
    registry.promote(registry.publish(bundle(tmp_path / "c", [PAIR], ["stop", "play ancient"], **facts)))
    with pytest.raises(ValueError, match=r"no state folder; got .*stat; expected one with the 2 orders"):
        run_job._orders(tmp_path / "reg", tmp_path / "stat", None, None)
    (tmp_path / "stat").touch()
    with pytest.raises(ValueError, match="--state is a file"):
        run_job._orders(tmp_path / "reg", tmp_path / "stat", None, None)


def test_what_would_stop_a_run_after_mining_stops_it_before(tmp_path: Path) -> None:
    (tmp_path / "incidents").write_text("{}")
    with pytest.raises(ValueError, match="is no incident"):
        run_job.run(**arguments(tmp_path), incidents=tmp_path / "incidents")
    with pytest.raises(ValueError, match="no amount of memory; got --memory 4gigs"):
        run_job.run(**arguments(tmp_path), memory="4gigs")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--registry is a file"):
        run_job.run([tmp_path], tmp_path / "file")
    assert not (tmp_path / "reg").exists()


def test_missing_logs_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        run_job.run(**arguments(tmp_path))
    assert not (tmp_path / "reg" / "run.lock").exists()
