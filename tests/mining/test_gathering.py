"""The log laid down by parts: every row once, in order, whoever reads it."""

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.log_files import parquet_files
from jobs.log_reading import read_logs
from jobs.mining import Counts, Gathered, _sample
from mining import arrow_log, gathered, gathering, quarantine
from tests.mining import logs

KEY = ("user_id", "timestamp", "interaction_id")


def rows_of(users: int, turns: int) -> list[logs.Row]:
    """`turns` turns of each user in no order, two at a time in the same moment."""
    found = [
        logs.turn(number // 2, interaction_id=f"i{number:04d}-{user}", user_id=f"u{user}")
        for user in range(users)
        for number in range(turns)
    ]
    return [found[row] for row in np.random.default_rng(3).permutation(len(found))]


def laid_down(tables: list[pa.Table], layout: gathering.Layout) -> gathered.Laid:
    """Each table as a split of its own."""
    for number, table in enumerate(tables):
        gathering.lay_down([arrow_log.judged(arrow_log.conformed(table))], layout, number)
    return gathered.Laid(layout.folder)


@pytest.mark.parametrize("together", [1, 2, 5])
def test_parts_hold_whole_users_in_order_however_the_log_was_split(tmp_path: Path, together: int) -> None:
    table = pa.Table.from_pylist(rows_of(9, 8), logs.SCHEMA)
    laid = laid_down([table[:30], table[30:31], table[31:]], gathering.Layout(tmp_path, 5, 1))
    blocks = [laid.rows(range(at, min(at + together, 5))) for at in range(0, 5, together)]
    found = [row for block in blocks for row in block.to_pylist()]
    assert sorted(row["interaction_id"] for row in found) == sorted(table["interaction_id"].to_pylist())
    keys = [(row[gathered.PART], *(row[name] for name in KEY)) for row in found]
    assert keys == sorted(keys)
    part_of: dict[str, int] = {}
    assert all(part_of.setdefault(row["user_id"], row[gathered.PART]) == row[gathered.PART] for row in found)
    assert len(set(part_of.values())) > 1


def test_a_chunk_of_many_small_batches_is_written_once(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(gathering, "CHUNK", 10)
    table = pa.Table.from_pylist(rows_of(4, 8), logs.SCHEMA)
    sizes = [len(chunk) for chunk in gathering.chunks([table[:0], table[:4], table[4:11], table[11:], table[:0]])]
    assert sizes == [11, 21]
    assert len(laid_down([table], gathering.Layout(tmp_path, 1, 1)).rows(range(1))) == 32


def test_a_part_that_nobody_fell_into_has_no_rows(tmp_path: Path) -> None:
    laid = laid_down([pa.Table.from_pylist(rows_of(1, 4), logs.SCHEMA)], gathering.Layout(tmp_path, 40, 1))
    sizes = [len(laid.rows(range(part, part + 1))) for part in range(40)]
    assert sorted(sizes) == [0] * 39 + [4]
    assert len(gathered.Laid(tmp_path / "nothing").rows(range(40))) == 0


@pytest.mark.parametrize("good", [0, 4])
def test_a_chunk_of_bad_rows_only_lays_nothing_down(tmp_path: Path, monkeypatch: Any, good: int) -> None:
    monkeypatch.setattr(gathering, "CHUNK", 4)
    tables = [pa.Table.from_pylist(rows, logs.SCHEMA) for rows in ([logs.turn(9, utterance="")] * 4, rows_of(1, good))]
    layout = gathering.Layout(tmp_path, 3, 1)
    found = gathering.lay_down([arrow_log.judged(arrow_log.conformed(table)) for table in tables], layout, 0)
    assert (found.rows, found.reasons, found.sound) == (4 + good, {"empty utterance": 4}, True)
    laid = gathered.Laid(tmp_path)
    assert sum(len(laid.rows(range(part, part + 1))) for part in range(3)) == good


def test_the_sample_is_of_whole_users_and_the_same_however_the_log_was_split(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows_of(40, 4), logs.SCHEMA)
    for name, tables in (("one", [table]), ("two", [table[90:], table[:90]])):
        (tmp_path / name).mkdir()
        laid_down(tables, gathering.Layout(tmp_path / name, 3, 4))
    found = gathered.sample(tmp_path / "one")
    assert found is not None
    assert found.equals(gathered.sample(tmp_path / "two"))
    sizes = found["user_id"].value_counts().to_pylist()
    assert 0 < len(sizes) < 25
    assert {entry["counts"] for entry in sizes} == {4}


def test_a_log_none_of_whose_users_is_in_the_sample_is_fitted_on_its_first_part(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows_of(2, 3), logs.SCHEMA)
    laid = laid_down([table], gathering.Layout(tmp_path, 2, 1 << 20))
    first = next(rows for part in range(2) if len(rows := laid.rows(range(part, part + 1))))
    assert gathered.sample(tmp_path) is None
    assert _sample(Gathered(tmp_path, 2, Counts(), None)).equals(first)  # type: ignore[arg-type]


def test_ids_that_occur_twice_are_found_in_whichever_range_they_fall(tmp_path: Path) -> None:
    top = (1 << 64) - 1
    np.save(tmp_path / "ids-0.npy", np.array([5, 1 << 63, top], dtype=np.uint64))
    np.save(tmp_path / "ids-1.npy", np.array([4, 1 << 40, top], dtype=np.uint64))
    assert not gathered.shared_ids(tmp_path, 0, top - 1)
    assert gathered.shared_ids(tmp_path, 1 << 63, top)
    np.save(tmp_path / "ids-1.npy", np.array([5, 6, 7], dtype=np.uint64))
    assert gathered.shared_ids(tmp_path, 0, 5)
    assert not gathered.shared_ids(tmp_path, 6, top)
    assert not gathered.shared_ids(tmp_path / "of no part", 0, top)


ODD = [
    logs.turn(1, interaction_id=None),
    logs.turn(2, user_id="  "),
    logs.turn(3, user_id="a\u241fb"),
    logs.turn(4, timestamp=None),
    logs.turn(5, timestamp=datetime(1989, 12, 31, tzinfo=UTC)),
    logs.turn(6, utterance=None),
    logs.turn(7, utterance=" \u200b "),
    logs.turn(8, utterance="x" * 600),
    logs.turn(9, utterance="bad \ufffd bytes", user_id=None),
    logs.turn(10, user_id="a\nb", timestamp=None),
    logs.turn(13, asr_confidence=98.0),
    logs.turn(14, asr_confidence=float("inf"), nlu_confidence=-1.0),
    logs.turn(15, nlu_confidence=2.0),
    logs.turn(11, utterance="\u2028Odd\u00a0SPACES  and CAPS", rewrite={"text": "Play  Rock", "holdout": None}),
    logs.turn(12, asr_confidence=float("nan"), dwell_s=float("inf"), slots=[{"name": "a", "value": None}]),
]


def other_types(table: pa.Table) -> pa.Table:
    """The same values as a site might store them that has no rewrites yet."""
    kinds = {
        "interaction_id": pa.large_string(),
        "timestamp": pa.timestamp("ms", "UTC"),
        "asr_confidence": pa.float32(),
        "nlu_confidence": pa.int32(),
    }
    columns = {name: table[name].cast(kinds.get(name, table.schema.field(name).type)) for name in table.column_names}
    return pa.table({name: column for name, column in columns.items() if name not in ("rewrite", "device")})


@pytest.mark.spark
@pytest.mark.parametrize("change", [lambda table: table, other_types])
def test_tasks_that_read_parquet_themselves_lay_down_what_spark_would(spark: Any, tmp_path: Path, change: Any) -> None:
    log = tmp_path / "logs"
    log.mkdir()
    table = change(pa.Table.from_pylist([*rows_of(3, 4), *ODD], logs.SCHEMA))
    pq.write_table(table[:9], log / "a.parquet", row_group_size=4)
    pq.write_table(table[9:], log / "b.parquet")
    found = []
    for name in ("direct", "spark"):
        (tmp_path / name).mkdir()
        layout = gathering.Layout(tmp_path / name, 2, 1)
        if name == "direct":
            splits, total = arrow_log.splits(parquet_files([log]) or []) or ([], 0)
            assert total == len(table)
            counts = gathering.gathered_directly(spark.range(len(splits)), splits, layout)
        else:
            counts = gathering.gathered(quarantine.glanced_at(read_logs(spark, [log])), layout)
        every = gathering.Found()
        for row in counts.collect():
            every.add(row["rows"], json.loads(row["reasons"]), row["first"], row["last"], row["sound"])
        found.append((every, gathered.Laid(tmp_path / name).rows(range(2))))
    assert found[0][0] == found[1][0]
    assert sum(found[0][0].reasons.values()) == 13
    assert found[0][1].equals(found[1][1]) or _text(found[0][1]) == _text(found[1][1])


def _text(rows: pa.Table) -> list[str]:
    """Rows as text: NaN is NaN there."""
    return [repr(row) for row in rows.to_pylist()]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("timestamp", pa.array(["2026-01-01T10:00:00Z"])),
        ("timestamp", pa.array([datetime(2026, 1, 1)], pa.timestamp("us"))),
        ("asr_confidence", pa.array([None], pa.null())),
        ("slots", pa.array([[{"name": "a"}]])),
        ("utterance", pa.array([7])),
    ],
)
def test_columns_that_only_spark_converts_are_left_to_spark(tmp_path: Path, name: str, column: pa.Array) -> None:
    table = pa.Table.from_pylist([logs.turn(1)], logs.SCHEMA)
    pq.write_table(table, tmp_path / "good.parquet")
    assert arrow_log.splits([tmp_path / "good.parquet"]) is not None
    pq.write_table(table.set_column(table.column_names.index(name), name, column), tmp_path / "other.parquet")
    assert arrow_log.splits([tmp_path / "good.parquet", tmp_path / "other.parquet"]) is None


def test_row_groups_are_read_together_up_to_a_size(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(arrow_log, "SPLIT_ROWS", 8)
    table = pa.Table.from_pylist(rows_of(3, 8), logs.SCHEMA)
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=5)
    splits, total = arrow_log.splits([tmp_path / "log.parquet"]) or ([], 0)
    assert total == 24
    assert [split.groups for split in splits] == [(0, 1), (2, 3), (4,)]
    read = pa.concat_tables(itertools.chain.from_iterable(map(arrow_log.read, splits)))
    assert read["interaction_id"].to_pylist() == table["interaction_id"].to_pylist()


def test_bytes_that_are_no_text_are_told_and_not_read_on(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"a\xff\xfeb")]
    )
    table = pa.Table.from_pylist([logs.turn(1)], logs.SCHEMA).set_column(3, "utterance", broken)
    found = gathering.lay_down([arrow_log.conformed(table)], gathering.Layout(tmp_path, 1, 1), 0)
    assert not found.sound
