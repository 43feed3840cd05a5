"""The demo's own part: how it splits the logs, and what it leaves alone."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import evaluate, run_demo
from jobs.evaluation import ALONE, read_decisions
from tests.jobs.worlds import MONDAY, truth_row, turn_row, write, write_decisions


def logs(folder: Path, days: int) -> Path:
    """A log of one turn a day, with outcomes."""
    rows = [turn_row(n, "u", "stop", gap_s=86_400, status="ok", interrupted=False, dwell_s=3.0) for n in range(days)]
    write(folder / "logs.parquet", rows)
    return folder


def test_the_future_begins_after_three_weeks_and_nothing_is_lost(tmp_path: Path) -> None:
    run_demo.split(logs(tmp_path, 28), tmp_path / "out")
    history, future = (pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("history", "future"))
    assert (history.num_rows, future.num_rows) == (21, 7)
    assert future["timestamp"][0].as_py() == MONDAY + timedelta(days=21)


def test_the_future_holds_no_outcome(tmp_path: Path) -> None:
    run_demo.split(logs(tmp_path, 28), tmp_path / "out")
    columns = set(pq.read_schema(tmp_path / "out" / "future.parquet").names)
    assert not columns & {"status", "interrupted", "dwell_s", "response", "rewrite"}
    assert "status" in pq.read_schema(tmp_path / "out" / "history.parquet").names


def test_a_log_without_a_future_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to rewrite"):
        run_demo.split(logs(tmp_path, 10), tmp_path / "out")


def test_a_folder_without_logs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no demo logs"):
        run_demo.split(tmp_path, tmp_path / "out")


def test_only_what_a_demo_wrote_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mined").mkdir()
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    run_demo._clear(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_what_only_the_session_explains_is_what_was_cured_and_would_not_have_been_alone(tmp_path: Path) -> None:
    said = ["stop", "again", "play jazz", "again", "blah", "blah"]
    write(tmp_path / "turns.parquet", [turn_row(n, "u", text, gap_s=20) for n, text in enumerate(said)])
    wanted = ["stop", "stop", "play jazz", "play jazz", "stop", "stop"]
    truth = [
        truth_row(f"i{n:04d}", text, heard != text, "misunderstood" if heard != text else None)
        for n, (heard, text) in enumerate(zip(said, wanted, strict=True))
    ]
    write(tmp_path / "truth.parquet", truth)
    write_decisions(tmp_path / "decisions.parquet", [None, "stop", None, "play jazz", "stop", "stop"])
    write_decisions(tmp_path / "alone.parquet", [None, None, None, "stop", "stop", "play jazz"])
    config = evaluate.EvaluateConfig(
        tmp_path / "turns.parquet", tmp_path / "truth.parquet", decisions=tmp_path / "decisions.parquet", draws=10
    )
    alone = {ALONE: read_decisions(tmp_path / "alone.parquet", [f"i{n:04d}" for n in range(len(said))])}
    found = run_demo.explained_by_session(evaluate.run(config, alone), tmp_path / "turns.parquet")
    assert found == [(("stop",), "again", "stop"), (("play jazz", "again", "blah"), "blah", "stop")]
    assert run_demo.explained_by_session(evaluate.run(config), tmp_path / "turns.parquet") == []
