"""A parquet footer in canonical order reads as before."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.parquet_footer import sort_encodings
from tests.mining import logs


def encodings(path: Path) -> list[tuple[str, ...]]:
    """The encodings of every column chunk, in the footer's order."""
    data = pq.read_metadata(path)
    return [
        data.row_group(group).column(column).encodings
        for group in range(data.num_row_groups)
        for column in range(data.num_columns)
    ]


def test_sorting_changes_the_order_of_encodings_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    table = pa.Table.from_pylist(logs.random_log(0), logs.SCHEMA)
    pq.write_table(table, path, row_group_size=50, version="1.0", data_page_version="1.0")
    before, size, bytes_before = encodings(path), path.stat().st_size, path.read_bytes()
    sort_encodings(path)
    assert pq.read_table(path).equals(table)
    assert path.stat().st_size == size
    assert [sorted(e) for e in encodings(path)] == [sorted(e) for e in before]
    assert encodings(path) != before, "a file that was in order already would prove nothing"
    once = path.read_bytes()
    assert once != bytes_before
    sort_encodings(path)
    assert path.read_bytes() == once


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="Was it cut off"):
        sort_encodings(path)
