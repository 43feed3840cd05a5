"""Writing DataFrames as parquet folders whose bytes depend on their rows only."""

import itertools
import shutil
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

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
    frame.write.parquet(target.as_uri(), mode="errorifexists")
    for path in sorted(target.iterdir()):
        if path.suffix == ".parquet":
            sort_encodings(path)
            path.rename(target / f"{path.name[:10]}.parquet")
        else:
            path.unlink()


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
