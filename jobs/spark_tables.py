"""Writing DataFrames as parquet folders whose bytes depend on their rows only."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from jobs.parquet_footer import sort_encodings

SORT = {
    "turns": ("user_id", "timestamp", "interaction_id"),
    "reformulations": ("source", "target", "kind"),
    "rewrites": ("source", "worth", "target"),
    "personal_rewrites": ("user", "source", "target"),
    "utterances": ("text",),
    "personal": ("user", "text"),
    "text_outcomes": ("text",),
    "rewrite_outcomes": ("source", "target"),
    "suspects": ("kind", "user", "source", "target"),
    "quarantine": ("reason", "raw"),
}
"""The order of rows in every table; its first column also spreads the rows over files."""


def write_table(frame: DataFrame, folder: Path, name: str, files: int, order: tuple[str, ...] | None = None) -> None:
    """Write table `name` into `folder/name` as `part-NNNNN.parquet`, at most `files` of them."""
    order = order or SORT[name]
    spread = frame.repartition(files, order[0]) if files > 1 else frame.repartition(1)
    write_sorted(spread.sortWithinPartitions(*order), folder / name)


def write_sorted(frame: DataFrame, target: Path) -> None:
    """Write `frame` as it is partitioned and sorted, without Spark's random names, checksums or markers."""
    frame.write.parquet(target.as_uri(), mode="error")
    for path in sorted(target.iterdir()):
        if path.suffix == ".parquet":
            sort_encodings(path)
            path.rename(target / f"{path.name[:10]}.parquet")
        else:
            path.unlink()


def write_sides(frame: DataFrame, name: str, files: int, sides: Sequence[tuple[bool, Path]]) -> None:
    """Write table `name` for every side: rows whose `past` is its flag go to its folder, all in one pass.

    Every folder gets `files` files, of no rows where there are none, so that what is there says nothing of the cluster.
    """
    order, rows = SORT[name], frame.drop("past")
    schema = to_arrow_schema(rows.schema)
    spread = frame.repartition(files, order[0]) if files > 1 else frame.repartition(1)
    spread = spread.select(*rows.columns, "past").sortWithinPartitions("past", *order)
    folders = [(past, folder / name) for past, folder in sides]
    for _, folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    spread.mapInArrow(_side_writer(schema, folders), "rows long").collect()
    for number in range(files):  # an empty table may have no task at all
        for _, folder in folders:
            path = folder / part_name(number)
            if not path.exists():
                write_part(schema.empty_table(), path)


def part_name(number: int) -> str:
    """File name of one part of a table."""
    return f"part-{number:05d}.parquet"


def write_part(rows: pa.Table, path: Path) -> None:
    """Write one file, in place of what an earlier attempt of the same task may have left."""
    pq.write_table(rows, path, compression="zstd", store_schema=False)


def _side_writer(
    schema: pa.Schema, folders: list[tuple[bool, Path]]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        number = context.partitionId() if context else 0
        held = list(batches)
        for past, folder in folders:
            rows = [batch.filter(pc.equal(batch.column("past"), past)).drop_columns(["past"]) for batch in held]
            table = pa.Table.from_batches(rows).cast(schema) if rows else schema.empty_table()
            write_part(table, folder / part_name(number))
        yield pa.RecordBatch.from_pydict({"rows": [sum(batch.num_rows for batch in held)]})

    return write


class Stage:
    """A scratch folder for tables that several later ones read: computed once, read back, removed at the end."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        """Tables go under `folder`, which is removed by `close`."""
        self.spark, self.folder, self.numbers = spark, folder, itertools.count(1)

    def __call__(self, frame: DataFrame) -> DataFrame:
        """`frame` as a table on disk."""
        path = (self.folder / f"stage-{next(self.numbers):03d}").as_uri()
        frame.write.parquet(path)
        return self.spark.read.schema(frame.schema).parquet(path)

    def close(self) -> None:
        """Remove everything that was staged."""
        shutil.rmtree(self.folder, ignore_errors=True)
