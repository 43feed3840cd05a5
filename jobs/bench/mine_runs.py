"""Growing logs, and timing mining beside the reference in one Spark session."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.mine import run
from mining.config import MineConfig
from mining.spark import session, settings_for

Say = Callable[[str], None]


def grown(spark: SparkSession, base: Path, turns: int) -> DataFrame:
    """`turns` turns of the log `base`, repeated with fresh user and interaction ids."""
    log = spark.read.parquet(base.absolute().as_uri())
    copies = -(-turns // log.count())
    every = log.crossJoin(F.broadcast(spark.range(copies).withColumnRenamed("id", "copy")))
    every = every.withColumns({name: F.concat_ws("-", name, "copy") for name in ("interaction_id", "user_id")})
    return every.drop("copy").limit(turns)


def reference(spark: SparkSession, log: Path, out: Path) -> None:
    """What no miner can do without: read, shuffle by user, sort by time, write."""
    rows = spark.read.parquet(log.as_uri()).repartition("user_id").sortWithinPartitions("user_id", "timestamp")
    rows.write.parquet(out.as_uri())


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of `work`."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(base: Path, sizes: list[int], folder: Path, memory: str, cores: int, say: Say) -> dict[str, Any]:
    """A row per size: turns, seconds, reference_seconds, ratio; and those of the largest size on top."""
    spark = session(cores, memory, settings_for(1 << 40))
    rows = []
    for turns in sizes:
        log, mined, copied = folder / f"log-{turns}", folder / f"mined-{turns}", folder / f"copied-{turns}"
        # a file for every half million turns, as a site that logs by the hour would have them
        grown(spark, base, turns).repartition(max(1, turns // 500_000)).write.parquet(log.as_uri())
        reference_s = timed(lambda log=log, out=copied: reference(spark, log, out))  # type: ignore[misc]
        say(f"{turns} turns: reference {reference_s:.1f} s")
        seconds = timed(lambda log=log, out=mined: run([log], out, MineConfig(), say=say))  # type: ignore[misc]
        rows.append(
            {"turns": turns, "seconds": seconds, "reference_seconds": reference_s, "ratio": seconds / reference_s}
        )
        for path in (log, mined, copied):
            shutil.rmtree(path)
    return {**rows[-1], "rows": rows, "memory": memory, "cores": cores}
