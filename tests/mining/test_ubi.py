"""OpenSearch UBI exports become interaction logs."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.import_ubi import import_ubi, read_ubi
from mining import ubi

pytestmark = pytest.mark.spark

QUERIES = [
    {
        "application": "shop",
        "query_id": "q1",
        "client_id": "c1",
        "user_query": "red shoos",
        "query_attributes": {"page": 1},
        "query_response_id": "r1",
        "query_response_hit_ids": [],
        "timestamp": "2026-03-02T08:00:00.000Z",
    },
    {
        "application": "shop",
        "query_id": "q2",
        "client_id": "c1",
        "user_query": "red shoes",
        "query_response_id": "r2",
        "query_response_hit_ids": ["p1", "p2"],
        "timestamp": "2026-03-02T08:00:09.500Z",
    },
]


def event(query: str, action: str, second: int) -> dict[str, Any]:
    """One event as the UBI 1.x schema has it."""
    return {
        "application": "shop",
        "action_name": action,
        "query_id": query,
        "client_id": "c1",
        "session_id": "s1",
        "timestamp": f"2026-03-02T08:00:{second:02d}.000Z",
        "message_type": "INFO",
        "event_attributes": {"object": {"object_id": "p1", "object_id_field": "id"}, "position": {"ordinal": 1}},
    }


EVENTS = [event("q2", "Click", 12), event("q2", "add_to_cart", 40), event("q1", "dismiss", 5), event("q9", "click", 6)]


def write(rows: list[dict[str, Any]], path: Path, hits: bool) -> Path:
    """JSON lines, gzipped where the name says so; `hits` as a scroll export has them."""
    lines = "\n".join(json.dumps({"_index": "i", "_source": row} if hits else row) for row in rows) + "\n"
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


@pytest.mark.parametrize(("name", "hits"), [("x.json", False), ("x.json.gz", True)])
def test_queries_and_events_become_turns(spark: Any, tmp_path: Path, name: str, hits: bool) -> None:
    queries, events = write(QUERIES, tmp_path / f"q{name}", hits), write(EVENTS, tmp_path / f"e{name}", hits)
    import_ubi(queries, events, tmp_path / "log")
    first, second = pq.read_table(tmp_path / "log").to_pylist()
    assert (first["interaction_id"], first["user_id"], first["utterance"]) == ("q1", "c1", "red shoos")
    assert (first["status"], first["interrupted"], first["dwell_s"]) == ("no_match", True, 0.0)
    assert (second["status"], second["interrupted"], second["dwell_s"]) == ("ok", False, 28.0)
    assert second["timestamp"].isoformat() == "2026-03-02T08:00:09.500000+00:00"
    assert second["domain"] == "shop"


def test_milliseconds_are_a_time_too(spark: Any) -> None:
    frame = spark.createDataFrame([("1772438400000",), ("soon",)], "t string")
    got = [row[0] for row in frame.select(ubi.ubi_time(frame.t).cast("string")).collect()]
    assert got == ["2026-03-02 08:00:00", None]


def test_another_file_is_refused_by_name(spark: Any, tmp_path: Path) -> None:
    path = write([{"a": 1}], tmp_path / "x.json", False)
    with pytest.raises(ValueError, match=r"x\.json: missing .*client_id.*is it a UBI export"):
        read_ubi(spark, path, ubi.QUERIES)
