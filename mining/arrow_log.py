"""Parquet logs read as Arrow, beside Spark: columns, types and first reasons as `schema` and `quarantine` give them.

Spark turns every column of parquet into rows, and those into Arrow, before Python sees them: that takes longer than all
the rest of laying a log down.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql.pandas.types import to_arrow_schema

from mining import schema
from mining.quarantine import OUTSIDE
from rewrite.text import USER_SEPARATOR

LOG: pa.Schema = to_arrow_schema(schema.LOG, timezone="UTC")
"""The log's columns as Arrow has them."""

SPLIT_ROWS = 500_000
"""Rows of one task, about: row groups of one file are read together up to here."""

BATCH = 65_536
"""Rows decoded at once."""


@dataclass(frozen=True)
class Split:
    """Consecutive row groups of one file."""

    path: str
    groups: tuple[int, ...]


def splits(files: list[Path]) -> tuple[list[Split], int] | None:
    """What to read of parquet files by tasks, and how many rows that is; None where Spark has to read them.

    Spark converts what Arrow would not convert alike: times written as text, columns of other shapes.
    """
    found, total = [], 0
    for file in files:
        held: list[int] = []
        try:
            footer = pq.read_metadata(file)
            plain = suits(footer.schema.to_arrow_schema(), str(file))
        except (OSError, pa.ArrowException):
            return None  # Spark says what is wrong with it
        if not plain:
            return None
        rows = 0
        for group in range(footer.num_row_groups):
            held.append(group)
            rows += footer.row_group(group).num_rows
            if rows >= SPLIT_ROWS or group + 1 == footer.num_row_groups:
                found.append(Split(str(file.absolute()), tuple(held)))
                held, rows = [], 0
        total += footer.num_rows
    return found, total


def suits(have: pa.Schema, where: str) -> bool:
    """Whether Arrow alone brings columns of these types to the log's, to the same values as Spark.

    Raises:
        ValueError: a required column is absent; `where` says of what.
    """
    schema.check_columns(have.names, where)
    kinds = {field.name: field.type for field in have}
    return all(_suits(kinds[field.name], field.type) for field in LOG if field.name in kinds)


def _suits(got: pa.DataType, want: pa.DataType) -> bool:
    if got.equals(want):
        return True
    if pa.types.is_timestamp(want):
        return pa.types.is_timestamp(got) and got.unit in ("us", "ms") and got.tz in ("UTC", "+00:00")
    if pa.types.is_string(want):
        return bool(pa.types.is_large_string(got))
    if pa.types.is_floating(want):
        return bool(pa.types.is_float32(got) or pa.types.is_integer(got))
    if pa.types.is_list(want):
        return bool(pa.types.is_list(got)) and _suits(got.value_type, want.value_type)
    if pa.types.is_struct(want):
        return (
            bool(pa.types.is_struct(got))
            and [f.name for f in got] == [f.name for f in want]
            and all(_suits(a.type, b.type) for a, b in zip(got, want, strict=True))
        )
    return False


def read(split: Split) -> Iterator[pa.Table]:
    """The rows of a split with the log's columns and `reason`, in batches."""
    with pq.ParquetFile(split.path, memory_map=True) as file:
        names = [name for name in LOG.names if name in file.schema_arrow.names]
        for batch in file.iter_batches(BATCH, row_groups=list(split.groups), columns=names):
            yield judged(conformed(pa.Table.from_batches([batch])))


def conformed(rows: pa.Table) -> pa.Table:
    """`rows` with exactly the log's columns and types; what is absent is null."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in LOG
    ]
    return pa.table(columns, schema=LOG)


def judged(rows: pa.Table) -> pa.Table:
    """`rows` with `reason`, as far as it shows without reading any text: as `mining.quarantine.glanced_at` has it."""
    blank = {name: _blank(rows[name]) for name in ("interaction_id", "user_id")}
    control = pc.match_substring_regex(rows["user_id"], f"[\\x00-\\x1f\\x7f{USER_SEPARATOR}]")
    ancient = pc.less(rows["timestamp"].cast(pa.int64()), _1990_US)
    wrong = {
        "missing interaction_id": blank["interaction_id"],
        "missing user_id": blank["user_id"],
        "control character in user_id": control,
        "missing or unparsable timestamp": pc.fill_null(ancient, True),
        "empty utterance": pc.is_null(rows["utterance"]),
        "invalid UTF-8": pc.match_substring(rows["utterance"], "\ufffd"),
        **{reason: pc.or_(pc.less(rows[name], 0), pc.greater(rows[name], 1)) for name, reason in OUTSIDE.items()},
    }
    if not any(pc.any(found).as_py() for found in wrong.values()):
        return rows.append_column("reason", pa.nulls(len(rows), pa.string()))
    found = (pc.fill_null(column, False).combine_chunks() for column in wrong.values())
    named = pc.case_when(pc.make_struct(*found), *(pa.scalar(reason) for reason in wrong))
    return rows.append_column("reason", named)


_1990_US = 631_152_000_000_000


def _blank(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.match_substring_regex(column, "^ *$"), True)
