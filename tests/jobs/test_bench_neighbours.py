"""The neighbours bench: rows for every size and system, on any file of pairs."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.bench.neighbours_runs import RECORDINGS, read_pairs
from jobs.cli import command

pytest.importorskip("faiss")


def run(*args: str) -> None:
    command()(["bench", "neighbours", *args], prog_name="reprise", standalone_mode=False)


def test_every_system_is_measured_at_every_size(tmp_path: Path) -> None:
    run("--sizes", "300,60", "--queries", "5", "--views-limit", "100", "--json", str(tmp_path / "n.json"))
    report = json.loads((tmp_path / "n.json").read_text())
    found = [(row["texts"], row["system"]) for row in report["rows"]]
    assert found == [
        (60, "ratio scan"), (60, "scan, all views"), (60, "index"), (300, "ratio scan"), (300, "index"),
    ]  # fmt: skip
    for row in report["rows"]:
        assert 0 <= row["p_at_1"] <= row["recall"] <= 1
        assert row["ms_per_query"] > 0
        assert (row["index_bytes_per_text"] > 0) == (row["system"] == "index")
    assert report["machine"]["queries"] == 5


def test_a_space_smaller_than_k_is_recalled_whole(tmp_path: Path) -> None:
    pairs = [{"recognised": f"clay {w}", "spoken": f"play {w}"} for w in ("jazz", "rock", "Soul")]
    pq.write_table(pa.Table.from_pylist(pairs), tmp_path / "p.parquet")
    run("--sizes", "10", "--pairs", str(tmp_path / "p.parquet"), "--json", str(tmp_path / "n.json"))
    rows = json.loads((tmp_path / "n.json").read_text())["rows"]
    assert [row["recall"] for row in rows] == [1, 1, 1]


def test_the_recordings_that_come_along_hold_misheard_queries() -> None:
    pairs = read_pairs(RECORDINGS)
    assert len(pairs) > 1000
    assert all(heard and meant and heard != meant for heard, meant in pairs)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"recognised": "a", "meant": "b"}], "is no file of pairs; got recognised, meant"),
        ([{"recognised": "Same", "spoken": "same"}], "holds no misheard query"),
    ],
)
def test_a_file_without_misheard_pairs_is_refused(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / "p.parquet")


@pytest.mark.parametrize("sizes", ["many", "10,", "0"])
def test_sizes_that_are_none_are_refused(sizes: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        run("--sizes", sizes)
