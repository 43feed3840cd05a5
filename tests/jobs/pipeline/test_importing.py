"""The service's exposure log on its way into the interaction log."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.pipeline.importing import Exposures, with_exposures
from serving.exposures import ExposureLog

REWRITE = {"text": "play b", "source": "global", "bundle": "f00", "propensity": 0.98, "holdout": False}


def decision(interaction_id: str | None, **changes: Any) -> dict[str, Any]:
    return {"kind": "decision", "interaction_id": interaction_id, "user_id": "u", "rewrite": {**REWRITE, **changes}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = ExposureLog(tmp_path / "exposures")
    for record in (decision("i1", text="old"), decision("i1"), decision(None), {"kind": "feedback"}):
        assert log.append(record)
    log.close()
    last = next((tmp_path / "exposures").glob("*.jsonl"))
    last.write_text(last.read_text() + '{"kind": "decision", "interac')
    return tmp_path / "exposures"


def test_what_the_service_wrote_is_read_the_last_decision_counting(folder: Path) -> None:
    assert Exposures.read(folder).rewrites == {"i1": REWRITE}


def test_logs_get_what_was_done_with_each_turn(folder: Path, tmp_path: Path) -> None:
    rows = [
        {"interaction_id": i, "user_id": "u", "timestamp": "2026-01-01T00:00:00Z", "utterance": "x"}
        for i in ("i1", "i2")
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = {**REWRITE, "text": "own"}
    pq.write_table(pa.Table.from_pylist([{"interaction_id": "i3", "rewrite": known}]), tmp_path / "b.parquet")
    found = Exposures.read(folder)
    first, second = with_exposures([tmp_path / "a.jsonl", tmp_path / "b.parquet"], found, tmp_path / "out")
    assert pq.read_table(first)["rewrite"].to_pylist() == [REWRITE, None]
    assert pq.read_table(second)["rewrite"].to_pylist() == [known]


def test_feedback_fills_what_the_log_leaves_open(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path / "exposures")
    for record in (
        {**decision("i1"), "request_id": "r1"},
        {"kind": "feedback", "request_id": "r1", "status": "error", "dwell_s": 2.5},
        {"kind": "feedback", "interaction_id": "i2", "interrupted": True, "dwell_s": 7.0},
        {"kind": "feedback", "interaction_id": "i2", "dwell_s": 3.0},
        {"kind": "feedback", "request_id": "unheard of", "status": "ok"},
    ):
        assert log.append(record)
    log.close()
    logged = {"interaction_id": ["i1", "i2", "i3"], "status": ["ok", None, None], "dwell_s": [None, None, 9]}
    pq.write_table(pa.table(logged), tmp_path / "a.parquet")
    (out,) = with_exposures([tmp_path / "a.parquet"], Exposures.read(tmp_path / "exposures"), tmp_path / "out")
    found = pq.read_table(out).to_pydict()
    assert (found["status"], found["interrupted"], found["dwell_s"]) == (
        ["ok", None, None],
        [None, True, None],
        [2.5, 3, 9],
    )


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"x\.parquet"):
        with_exposures([tmp_path / "x.parquet"], Exposures(), tmp_path / "out")
