"""The personal store's shards, built where the rows are."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.store import personal_shard_bytes


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
    """Shards arrive one after the other, whole: a shard's rows are held until the next one begins."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        while batch.num_rows:
            same = _run_length(batch.column(0))
            if held and held[0].column(0)[0] != batch.column(0)[0]:
                yield _shard(held)
                held = []
            held.append(batch.slice(0, same))
            batch = batch.slice(same)
    if held:
        yield _shard(held)


def _run_length(shards: pa.Array) -> int:
    """Rows at the front that are of the first row's shard."""
    other = pc.index(pc.not_equal(shards, shards[0]), True).as_py()
    return int(other) if other >= 0 else len(shards)


def _shard(rows: list[pa.RecordBatch]) -> pa.RecordBatch:
    columns = [column.to_pylist() for column in pa.Table.from_batches(rows).columns[1:]]
    data = pa.array([personal_shard_bytes(zip(*columns, strict=True))], pa.binary())
    shard = rows[0].column(0).slice(0, 1)
    return pa.RecordBatch.from_arrays([shard, data], names=["shard", "data"])
