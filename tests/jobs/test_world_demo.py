"""The shipped demo data keep the log contract and are what their card says."""

from datetime import UTC, datetime
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.simulate import DEMO
from jobs.world import summary, tables
from jobs.world.assistant import interpret
from rewrite.text import MAX_CHARS, normalise


@cache
def table(name: str) -> pa.Table:
    return pq.read_table(DEMO / f"{name}.parquet")


@cache
def figures() -> dict[str, float]:
    return summary.figures(summary.load(DEMO))


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("logs", tables.LOG_SCHEMA),
        ("truth", tables.TRUTH_SCHEMA),
        ("oracle", tables.ORACLE_SCHEMA),
        ("recognitions", tables.RECOGNITION_SCHEMA),
    ],
)
def test_shipped_tables_have_the_agreed_columns(name: str, schema: pa.Schema) -> None:
    assert table(name).schema.equals(schema)


def test_every_log_row_is_valid() -> None:
    rows = table("logs").to_pylist()
    assert len({row["interaction_id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["user_id"]
        assert datetime(2026, 1, 5, tzinfo=UTC) <= row["timestamp"] < datetime(2026, 2, 2, tzinfo=UTC)
        assert row["utterance"] == normalise(row["utterance"])
        assert 0 < len(row["utterance"]) <= MAX_CHARS
        assert row["status"] in ("ok", "no_match", "error")
        assert row["asr_confidence"] is None or 0 <= row["asr_confidence"] <= 1
        assert 0 <= row["nlu_confidence"] <= 1
        assert row["dwell_s"] is None or row["dwell_s"] >= 0
        assert (row["intent"] is None) == (row["status"] == "no_match")
        assert row["asr_nbest"] is None or row["asr_nbest"][0] == row["utterance"]
        assert row["rewrite"] is None


def test_the_log_is_in_order_of_time() -> None:
    stamps = table("logs")["timestamp"].to_pylist()
    assert stamps == sorted(stamps)


def test_truth_has_one_row_for_each_turn_and_agrees_with_the_oracle() -> None:
    oracle = {row["text"]: row for row in table("oracle").to_pylist()}
    logs, truth = table("logs").to_pylist(), table("truth").to_pylist()
    assert [row["interaction_id"] for row in logs] == [row["interaction_id"] for row in truth]
    for turn, known in zip(logs, truth, strict=True):
        read = oracle[turn["utterance"]]
        right = read["intent"] == known["intent"] and tables.slots_of(known) <= tables.slots_of(read)
        assert right == (known["cause"] != "misunderstood")
        assert known["defect"] == (known["cause"] is not None)
        assert known["intended"] in oracle


def test_the_oracle_is_what_the_assistant_does_today() -> None:
    for row in table("oracle").to_pylist():
        reading = interpret(row["text"])
        assert (row["domain"], row["intent"], tables.slots_of(row)) == (
            reading.domain,
            reading.intent,
            set(reading.slots),
        )


def test_the_demo_is_as_large_as_promised() -> None:
    assert 45_000 <= table("logs").num_rows <= 60_000
    assert len(set(table("logs")["user_id"].to_pylist())) >= 250
    assert len(set(table("recognitions")["text"].to_pylist())) >= 1_500
    assert sum(path.stat().st_size for path in DEMO.glob("*.parquet")) < 6_000_000


def test_the_demo_is_a_fair_world() -> None:
    """Enough defects, most of them curable by somebody's success, and a nearest neighbour that breaks good turns."""
    found = figures()
    assert 0.12 <= found["defect rate"] <= 0.18
    assert found["future: ceiling by either, share of defects"] >= 0.5
    assert 0.25 <= found["future: misheard texts never heard before, share"] <= 0.5
    assert found["nearest shared text, P@1 on misheard turns"] <= 0.8
    assert found["nearest > 80: broken share of good turns"] > 0.002
    assert 12 <= found["gap to a reformulation, median s"] <= 20


def test_the_card_shows_the_figures_of_the_shipped_tables() -> None:
    assert summary.markdown(summary.load(DEMO)) in (DEMO / "README.md").read_text()
