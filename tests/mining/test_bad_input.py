"""What is wrong with a log is said in one sentence, or set aside with a reason."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.log_reading import SPARK_ERRORS, cause, read_logs
from jobs.mine import run
from jobs.mining import check, judge, look
from jobs.rundir import manifest_of
from mining import quarantine
from mining.config import MineConfig
from tests.mining import logs

pytestmark = pytest.mark.spark

CONFIG = MineConfig(personal_shards=2)


def judged(spark: Any, *paths: Path) -> Any:
    """Rows with their reasons, duplicates settled."""
    return judge(spark, read_logs(spark, list(paths)))[0]


def reasons(spark: Any, *paths: Path) -> list[str]:
    """Reasons of the quarantined rows, sorted."""
    return sorted(row["reason"] for row in quarantine.quarantined(judged(spark, *paths)).collect())


def test_a_missing_file_is_named(spark: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.parquet: no such file or folder"):
        run([tmp_path / "nowhere.parquet"], tmp_path / "out", CONFIG)


def test_an_empty_folder_is_named(spark: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the folder holds no file"):
        run([tmp_path], tmp_path / "out", CONFIG)


def test_wrong_columns_are_named_with_what_was_got(spark: Any, tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["u"], "query": ["q"]}), tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"required columns interaction_id, timestamp, utterance; got user_id, query"):
        run([tmp_path / "log.parquet"], tmp_path / "out", CONFIG)
    (tmp_path / "log.jsonl").write_text('{"user_id": "u", "query": "q"}\n')
    with pytest.raises(ValueError, match=r"required columns interaction_id, timestamp, utterance; got query, user_id"):
        run([tmp_path / "log.jsonl"], tmp_path / "out", CONFIG)


def test_a_column_of_the_wrong_type_is_named_with_both_types(spark: Any, tmp_path: Path) -> None:
    rows = pa.table({"interaction_id": ["i"], "user_id": ["u"], "timestamp": ["2026-01-01"], "utterance": [7]})
    pq.write_table(rows, tmp_path / "log.parquet")
    with pytest.raises(ValueError, match="column utterance has type bigint; expected string"):
        run([tmp_path / "log.parquet"], tmp_path / "out", CONFIG)


def test_an_empty_log_is_an_error(spark: Any, tmp_path: Path) -> None:
    log = logs.write([], tmp_path / "log.parquet")
    with pytest.raises(ValueError, match="the logs hold no rows"):
        run([log], tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["log.parquet"]


@pytest.mark.parametrize("beside", [False, True])
def test_a_file_of_no_rows_needs_no_types(spark: Any, tmp_path: Path, beside: bool) -> None:
    names = ["interaction_id", "user_id", "timestamp", "utterance"]
    pq.write_table(pa.table({name: pa.array([], pa.null()) for name in names}), tmp_path / "empty.parquet")
    if beside:
        logs.write([logs.turn(n, utterance=f"text {n % 3}") for n in range(12)], tmp_path / "log.parquet")
        run([tmp_path], tmp_path / "out", CONFIG)
        assert manifest_of(tmp_path / "out")["tables"]["turns"] == 12
    else:
        with pytest.raises(ValueError, match="the logs hold no rows"):
            run([tmp_path / "empty.parquet"], tmp_path / "out", CONFIG)


@pytest.mark.parametrize("damage", ["truncated", "garbage"])
def test_a_corrupt_parquet_file_is_named(spark: Any, tmp_path: Path, damage: str) -> None:
    log = logs.write([logs.turn(n) for n in range(50)], tmp_path / "log.parquet")
    log.write_bytes(log.read_bytes()[:-50] if damage == "truncated" else b"not parquet at all")
    with pytest.raises(ValueError, match=r"log\.parquet: cannot be read as parquet"):
        run([log], tmp_path / "out", CONFIG)


def test_a_parquet_file_damaged_in_its_pages_fails_with_one_sentence(spark: Any, tmp_path: Path) -> None:
    log = logs.write([logs.turn(n, utterance=f"text {n}") for n in range(500)], tmp_path / "log.parquet")
    data = bytearray(log.read_bytes())
    data[4:2000] = b"\x00" * 1996
    log.write_bytes(data)
    with pytest.raises(ValueError, match=r"mining failed: .*is a log file damaged"):
        run([log], tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_what_a_task_in_python_raised_is_in_the_sentence(spark: Any) -> None:
    def fail(batches: Any) -> Any:
        raise OSError(28, "No space left on device")

    with pytest.raises(SPARK_ERRORS) as failed:
        spark.range(1).mapInArrow(fail, "id long").collect()
    expected = r"thrown from the Python worker: OSError: \[Errno 28\] No space left on device$"
    assert re.search(expected, cause(failed.value))


def test_every_kind_of_bad_row_gets_its_reason(spark: Any, tmp_path: Path) -> None:
    bad = [
        logs.turn(1, interaction_id=None),
        logs.turn(2, user_id=" "),
        logs.turn(3, user_id="a\u241fb"),
        logs.turn(4, timestamp=None),
        logs.turn(5, utterance=None),
        logs.turn(6, utterance=" \u200b "),
        logs.turn(7, utterance="x" * 10_000),
        logs.turn(8, utterance="bad \ufffd bytes"),
        logs.turn(9, asr_confidence=87.0),
        logs.turn(10, nlu_confidence=-0.5),
    ]
    assert reasons(spark, logs.write([logs.turn(0), *bad], tmp_path / "log.parquet")) == [
        "asr_confidence outside 0 to 1: is it in per cent?",
        "control character in user_id",
        "empty utterance",
        "empty utterance",
        "invalid UTF-8",
        "missing interaction_id",
        "missing or unparsable timestamp",
        "missing user_id",
        "nlu_confidence outside 0 to 1: is it in per cent?",
        "utterance of 10000 characters, over 500",
    ]


def test_invalid_bytes_in_parquet_are_quarantined_and_kept_readable(spark: Any, tmp_path: Path) -> None:
    good = pa.Table.from_pylist([logs.turn(0), logs.turn(1)], logs.SCHEMA)
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0\10\0\0\0"), pa.py_buffer(b"fine\xff\xfe!!")]
    )
    pq.write_table(good.set_column(3, "utterance", broken), tmp_path / "log.parquet")
    [row] = quarantine.quarantined(judged(spark, tmp_path / "log.parquet")).collect()
    assert row["reason"] == "invalid UTF-8"
    assert json.loads(row["raw"])["interaction_id"] == "i0001"


def test_json_lines_compressed_or_not_are_read_and_judged(spark: Any, tmp_path: Path) -> None:
    rows = [
        '{"interaction_id": "a", "user_id": "u", "timestamp": "2026-01-01T10:00:00Z", "utterance": "Hi \u2019s"}',
        '{"interaction_id": "b", "user_id": "u", "timestamp": "2026-01-01T12:00:00+02:00", "utterance": "b", '
        '"slots": [{"name": "n", "value": "v"}], "asr_confidence": 1, "rewrite": {"text": "B", "holdout": false}}',
        '{"interaction_id": "c", "user_id": "u", "timestamp": "soon", "utterance": "c"}',
        '{"interaction_id": "d", "user_id": "u", "timestamp": "2026-01-01T10:00:00Z", "utterance": "d \\ud800"}',
        '{"interaction_id": "e", "user_id": ',
        '{"interaction_id": "f", "user_id": "u", "timestamp": "2026-01-01T10:00:00Z", "utterance": "", "dwell_s": "x"}',
        '{"interaction_id": "g", "user_id": "u", "timestamp": "2026-01-01T10:00:00Z", "utterance": "\\ud83d\\ude00"}',
        "",
    ]
    data = "\n".join(rows).encode() + b'\n{"interaction_id": "h", "utterance": "\xff"}\n'
    (tmp_path / "log.jsonl").write_bytes(data)
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(data))
    for name in ("log.jsonl", "log.jsonl.gz"):
        assert reasons(spark, tmp_path / name) == [
            "invalid UTF-8",
            "lone surrogate",
            "missing or unparsable timestamp",
            "not a JSON object of the log's columns",
            "not a JSON object of the log's columns",
        ]
    good = judged(spark, tmp_path / "log.jsonl").where("reason is null").orderBy("interaction_id").collect()
    assert [(r["interaction_id"], r["text"]) for r in good] == [("a", "hi 's"), ("b", "b"), ("g", "\U0001f600")]
    assert good[0]["timestamp"] == good[1]["timestamp"]
    assert good[1]["slots"][0]["value"] == "v"
    assert good[1]["rewrite"]["text"] == "B"


def test_of_duplicates_the_first_stays_whatever_the_order(spark: Any, tmp_path: Path) -> None:
    first, second = logs.turn(1, utterance="first"), logs.turn(2, interaction_id="i0001", utterance="second")
    for n, rows in enumerate(([first, second], [second, first])):
        log = logs.write([*rows, logs.turn(3)], tmp_path / f"{n}.parquet")
        kept = judged(spark, log).where("reason is null").select("text").collect()
        assert sorted(r["text"] for r in kept) == ["first", "play jazz"]
        assert reasons(spark, log) == ["duplicate interaction_id"]


def test_too_many_bad_rows_fail_with_their_counts(spark: Any, tmp_path: Path) -> None:
    rows = [logs.turn(n, utterance="" if n < 2 else "x" * (600 + n) if n < 5 else "fine") for n in range(20)]
    log = logs.write(rows, tmp_path / "log.parquet")
    message = r"5 of 20 rows are bad, over the allowed share of 0.05: 3 × utterance of too many characters.*2 × empty"
    with pytest.raises(ValueError, match=message):
        run([log], tmp_path / "out", CONFIG)
    check(look(judged(spark, log)), MineConfig(bad_share=0.25))


def write_bad(folder: Path, kind: str) -> Path:
    """A file of three bad rows and none besides."""
    if kind == "parquet":
        return logs.write([logs.turn(n, utterance="") for n in range(900, 903)], folder / "bad.parquet")
    row = {"user_id": "u", "timestamp": "yesterday", "utterance": "x"}
    lines = [json.dumps({"interaction_id": str(n), **row}) for n in range(3)]
    (folder / "bad.jsonl").write_text("\n".join(lines))
    return folder / "bad.jsonl"


REASON = {"parquet": "empty utterance", "json": "missing or unparsable timestamp"}


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_a_file_of_bad_rows_only_is_quarantined_beside_a_good_one(spark: Any, tmp_path: Path, kind: str) -> None:
    good = logs.write([logs.turn(n, utterance=f"text {n % 3}") for n in range(60)], tmp_path / "good.parquet")
    run([good, write_bad(tmp_path, kind)], tmp_path / "out", CONFIG)
    found = pq.read_table(tmp_path / "out" / "quarantine")
    assert found["reason"].to_pylist() == [REASON[kind]] * 3
    assert manifest_of(tmp_path / "out")["tables"]["turns"] == 60


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_a_log_of_bad_rows_only_fails_with_their_counts(spark: Any, tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match=f"3 of 3 rows are bad, over the allowed share of 0.05: 3 × {REASON[kind]}"):
        run([write_bad(tmp_path, kind)], tmp_path / "out", CONFIG)


def test_a_log_without_optional_columns_is_conformed(spark: Any, tmp_path: Path) -> None:
    names = ["interaction_id", "user_id", "timestamp", "utterance"]
    pq.write_table(pa.Table.from_pylist([logs.turn(0)], logs.SCHEMA).select(names), tmp_path / "log.parquet")
    [row] = judged(spark, tmp_path / "log.parquet").collect()
    assert row["reason"] is None
    assert row["asr_nbest"] is row["slots"] is row["rewrite"] is None


@pytest.mark.parametrize("kind", ["ns", "naive", "text"])
def test_timestamps_of_other_kinds_are_understood(spark: Any, tmp_path: Path, kind: str) -> None:
    table = pa.Table.from_pylist([logs.turn(0)], logs.SCHEMA)
    types = {"ns": pa.timestamp("ns", tz="UTC"), "naive": pa.timestamp("us"), "text": pa.string()}
    values = pa.array(["2026-03-02T08:00:00Z"]) if kind == "text" else table["timestamp"].cast(types[kind])
    pq.write_table(table.set_column(2, "timestamp", values), tmp_path / "log.parquet")
    [row] = judged(spark, tmp_path / "log.parquet").selectExpr("unix_micros(timestamp) as t").collect()
    assert row["t"] == int(logs.START.timestamp() * 1e6)


def test_a_log_with_one_user_has_personal_texts_and_an_empty_global_space(spark: Any, tmp_path: Path) -> None:
    rows = [logs.turn(n, utterance=f"text {n % 3}") for n in range(12)]
    lines = run([logs.write(rows, tmp_path / "log.parquet")], tmp_path / "out", CONFIG)
    assert "the global space is empty: no text worked for 5 distinct users" in lines[1]
    tables = manifest_of(tmp_path / "out")["tables"]
    assert (tables["utterances"], tables["personal"]) == (0, 3)
