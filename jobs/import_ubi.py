"""`reprise import-ubi`: OpenSearch UBI queries and events in, an interaction log out."""

from pathlib import Path
from typing import Annotated, Any

import typer


def import_ubi(
    queries: Annotated[Path, typer.Argument(help="UBI queries: JSON lines, compressed or not, or parquet.")],
    events: Annotated[Path, typer.Argument(help="UBI events, likewise.")],
    out: Annotated[Path, typer.Option(help="Folder to write the log to, as parquet.")],
    memory: Annotated[str, typer.Option(help="Java heap of a local Spark.")] = "4g",
) -> None:
    """Turn a search box's UBI events into an interaction log that `reprise mine` reads."""
    from jobs.spark_tables import write_table
    from mining import ubi
    from mining.spark import running

    if out.exists():
        raise ValueError(f"{out} exists; choose another --out")
    with running(memory=memory) as spark:
        log = ubi.interactions(read_ubi(spark, queries, ubi.QUERIES), read_ubi(spark, events, ubi.EVENTS))
        out.parent.mkdir(parents=True, exist_ok=True)
        write_table(log, out.absolute().parent, out.name, 1, order=("user_id", "timestamp", "interaction_id"))
        typer.echo(f"{out}: {spark.read.parquet(out.absolute().as_uri()).count()} turns")


def read_ubi(spark: Any, path: Path, schema: Any) -> Any:
    """One UBI index as exported: the documents themselves, or search hits that hold them in `_source`.

    Raises:
        ValueError: nothing is there, or none of its columns is the schema's.
    """
    from pyspark.sql import functions as F

    from jobs.log_files import expand

    files = [str(file) for file in expand(path)]
    frame = spark.read.parquet(*files) if files[0].endswith(".parquet") else spark.read.json(files)
    if "_source" in frame.columns:
        frame = frame.select("_source.*")
    required = {"query_id", "client_id", "timestamp"}
    if not required <= set(frame.columns):
        raise ValueError(
            f"{path}: missing {sorted(required - set(frame.columns))}; got {frame.columns}; is it a UBI export?"
        )
    columns = [
        F.col(f.name).cast(f.dataType) if f.name in frame.columns else F.lit(None).cast(f.dataType).alias(f.name)
        for f in schema
    ]
    return frame.select(*columns)
