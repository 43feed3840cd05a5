"""Reading interaction logs into Spark: parquet or JSON lines, compressed or not, files or folders."""

import re
from functools import reduce
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.log_files import HEAD, expand, is_json, with_rows
from mining.schema import JSON_LOG, LOG, check_columns, conform, parse_time

SPARK_ERRORS = (PySparkException, Py4JJavaError)
"""What a failing read or query raises; which of the two depends on where in Spark it fails."""


def read_logs(spark: SparkSession, paths: list[Path]) -> DataFrame:
    """Every row of `paths` with the log's columns; `_raw` and `_malformed` besides where a path held JSON.

    Raises:
        ValueError: a path is missing, unreadable, or not an interaction log.
    """
    frames = [_read(spark, path) for path in paths]
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)


def _read(spark: SparkSession, path: Path) -> DataFrame:
    files = expand(path)
    names = [str(file) for file in with_rows(files)]
    if all(is_json(file) for file in files):
        return _read_json(spark, names, str(path))
    if any(is_json(file) for file in files):
        raise ValueError(f"{path}: holds both parquet and JSON lines; pass them as separate arguments")
    if not names:
        return spark.createDataFrame([], LOG)
    try:
        frame = spark.read.option("mergeSchema", "true").parquet(*names)
    except SPARK_ERRORS as error:
        raise ValueError(f"{path}: cannot be read as parquet ({cause(error)}); truncated or another format?") from error
    return conform(frame, str(path))


def _read_json(spark: SparkSession, names: list[str], where: str) -> DataFrame:
    lines = spark.read.text(names).where(F.trim("value") != "")
    _check_json(lines, where)
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": "_malformed"}
    parsed = lines.select(F.col("value").alias("_raw"), F.from_json("value", JSON_LOG, options).alias("row"))
    columns = [parse_time(F.col("row.timestamp")) if f.name == "timestamp" else F.col(f"row.{f.name}") for f in LOG]
    named = [column.alias(f.name) for column, f in zip(columns, LOG, strict=True)]
    return parsed.select(*named, "_raw", F.col("row._malformed").alias("_malformed"))


def _check_json(lines: DataFrame, where: str) -> None:
    """A file whose first lines know none of our columns is the wrong file, not a file of bad rows."""
    keys: set[str] = set()
    head = lines.limit(HEAD).select(F.json_object_keys("value").alias("keys")).collect()
    for row in head:
        keys.update(row["keys"] or [])
    if head:
        check_columns(sorted(keys), where)


def cause(error: Exception) -> str:
    """The one line of Spark's hundreds that says what happened."""
    text = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    head, _, trace = text.rpartition(_TRACEBACK)
    if head:
        raised = next((line for line in trace.splitlines() if re.match(r"[A-Za-z_]", line)), "")
        return f"{lines[0].removesuffix(_TRACEBACK).rstrip()} {raised}".rstrip()[:300]
    return lines[0][:300]


_TRACEBACK = "Traceback (most recent call last):"
"""Begins what a Python worker raised; the first line after it that is not indented says what that was."""
