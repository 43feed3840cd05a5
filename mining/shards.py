"""The personal store's shards, built where the rows are."""

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.store import PersonalRow, personal_shard_bytes


def shard_of(user: Column, shards: int) -> Column:
    """`rewrite.text.personal_shard` as a native column."""
    head = F.conv(F.substring(F.sha2(user, 256), 1, 8), 16, 10).cast("long")
    return (head % shards).cast("int")


def personal_shards(personal: DataFrame, shards: int) -> DataFrame:
    """shard, data: the bytes of every non-empty shard of the personal store. A task holds one shard's rows at once."""
    day = F.unix_date(F.to_date("last_used")).alias("day")
    rows = personal.select(shard_of(F.col("user"), shards).alias("shard"), "user", "text", "count", day, "success_rate")
    rows = rows.repartition("shard").sortWithinPartitions("shard", "user", "text")
    return rows.mapInArrow(_build, "shard int, data binary")


def _build(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    current: int | None = None
    rows: list[PersonalRow] = []
    for batch in batches:
        for shard, *row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if shard != current and rows:
                yield _shard(current, rows)
                rows = []
            current = shard
            rows.append((row[0], row[1], row[2], row[3], row[4]))
    if rows:
        yield _shard(current, rows)


def _shard(shard: int | None, rows: list[PersonalRow]) -> pa.RecordBatch:
    data = pa.array([personal_shard_bytes(rows)], pa.binary())
    return pa.RecordBatch.from_arrays([pa.array([shard], pa.int32()), data], names=["shard", "data"])
