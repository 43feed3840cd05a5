"""What a log's files say of their columns before Spark is started."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import mine
from jobs.cli import command
from jobs.log_files import columns
from mining.config import SCRUBS, MineConfig

GOOD = {"interaction_id": "a", "user_id": "u", "timestamp": "2026-01-05T10:00:00Z", "utterance": "play a"}
LACKING = {name: value for name, value in GOOD.items() if name not in ("user_id", "utterance")} | {"note": "x"}


def parquet(path: Path, *rows: dict[str, str]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def lines(path: Path, *rows: dict[str, str]) -> Path:
    text = "\n".join(["", *map(json.dumps, rows), "{torn"])
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.json.gz"])
def test_a_log_without_its_columns_is_refused_before_spark_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (parquet if name.endswith("parquet") else lines)(tmp_path / name, LACKING)
    monkeypatch.setattr(mine, "_mine", lambda *_: pytest.fail("Spark would have been started"))
    got = ", ".join(LACKING if name.endswith("parquet") else sorted(LACKING))
    with pytest.raises(ValueError, match=f"missing the required columns user_id, utterance; got {got}. Is it"):
        mine.run([path], tmp_path / "out", MineConfig())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", ["b.parquet", "b.jsonl"])
def test_another_table_in_the_folder_is_named(other: str, tmp_path: Path) -> None:
    log = parquet(tmp_path / "a.parquet", GOOD)
    mine.check_logs([tmp_path])
    table = (parquet if other.endswith("parquet") else lines)(tmp_path / other, LACKING)
    named = table if other.endswith("parquet") else tmp_path
    with pytest.raises(ValueError, match=f"^{named}: missing the required columns user_id, utterance"):
        mine.check_logs([tmp_path])
    assert columns(tmp_path)[log] == list(GOOD)


def test_lines_of_several_files_count_together(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", {"user_id": "u", "timestamp": "t"})
    lines(tmp_path / "b.jsonl", GOOD)
    mine.check_logs([tmp_path])
    assert columns(tmp_path) == {tmp_path: sorted(GOOD)}


def test_what_cannot_be_read_or_is_empty_is_left_to_whoever_reads_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    (tmp_path / "torn.json.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    for name in ("torn.parquet", "empty.jsonl", "torn.json.gz"):
        assert columns(tmp_path / name) == {}
    torn = lines(tmp_path / "torn.jsonl")
    assert columns(torn) == {torn: []}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty; expected JSON lines"),
        (b"\n \n", "empty; expected JSON lines"),
        (b"user_id,utterance\nu,play a\n", r"not JSON lines; got b'user_id,utterance'; .* another format\?"),
        (b'[{"user_id": "u"}]\n', ".* is it one array"),
        (b"PAR1\x00\x01", "not JSON lines"),
    ],
)
def test_json_lines_that_are_none_are_named_before_spark_starts(
    content: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.jsonl").write_bytes(content)
    monkeypatch.setattr(mine, "_mine", lambda *_: pytest.fail("Spark would have been started"))
    with pytest.raises(ValueError, match=f"log.jsonl: {sentence}"):
        mine.run([tmp_path / "log.jsonl"], tmp_path / "out", MineConfig())
    assert not (tmp_path / "out").exists()


def test_a_compressed_file_that_is_none_is_named_before_spark_starts(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl.gz").write_text(json.dumps(GOOD))
    with pytest.raises(ValueError, match=r"log.jsonl.gz: cannot be read \(Not a gzipped file.*not what its name says"):
        mine.check_logs([tmp_path])


def test_an_empty_file_beside_others_is_an_hour_without_turns(tmp_path: Path) -> None:
    (tmp_path / "09.jsonl").touch()
    lines(tmp_path / "10.jsonl", GOOD)
    mine.check_logs([tmp_path])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["--scrub", "emails"], r"cannot take that out; got --scrub emails; expected some of email, number; a typing"),
        (["--scrub", "email, names"], r"names go by --names FILE"),
        (["--memory", "4"], r"no amount of memory; got --memory 4; expected 512m or more"),
        (["--memory", "4gb"], r"no amount of memory"),
        (["--memory", "100m"], r"no amount of memory"),
        (["--names", "nowhere"], "nowhere: no such file"),
        (["--user-key", "short"], "short: the key has 5 bytes"),
    ],
)
def test_settings_of_privacy_and_memory_are_checked_before_spark_starts(
    settings: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("12345")
    lines(tmp_path / "log.jsonl", GOOD)
    monkeypatch.setattr(mine, "_mine", lambda *_: pytest.fail("Spark would have been started"))
    with pytest.raises(ValueError, match=sentence):
        command()(["mine", "log.jsonl", "--out", "out", *settings], standalone_mode=False)
    assert not (tmp_path / "out").exists()


def test_what_can_be_scrubbed_is_what_mining_has_patterns_for() -> None:
    from mining.privacy import SCRUBBERS

    assert tuple(SCRUBBERS) == SCRUBS


@pytest.mark.parametrize("name", ["a.csv", "folder/README.md", "a.parquet"])
def test_a_file_that_is_no_log_is_named_before_spark_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    parquet(tmp_path / "folder" / "good.parquet", GOOD)
    (tmp_path / name).write_text("user_id,utterance\nu,play a\n")
    monkeypatch.setattr(mine, "_mine", lambda *_: pytest.fail("Spark would have been started"))
    path = tmp_path / "folder" if "/" in name else tmp_path / name
    with pytest.raises(ValueError, match=f"{name}: cannot be read as parquet: it does not begin as such"):
        mine.run([path], tmp_path / "out", MineConfig())
