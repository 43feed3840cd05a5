"""The demo's own part: how it splits the logs, and what it leaves alone."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import run_demo
from tests.jobs.worlds import MONDAY, turn_row, write


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
