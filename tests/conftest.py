"""Fixtures that many tests share. The Spark session starts only for a test that asks for it."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

# py4j says goodbye when Python ends, to a stream that pytest has closed by then.
logging.getLogger("py4j").setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """One session for the whole test run."""
    from mining.spark import session

    settings = {
        # Tiny tables: one partition is one task, and a task costs more than the rows in it.
        "spark.sql.shuffle.partitions": "1",
        "spark.default.parallelism": "1",
        # A small serial heap and no second compiler tier cut the CPU of short queries by almost half.
        "spark.driver.defaultJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData",
        # Workers are forked once and kept: importing pyarrow again for every query would dominate.
        "spark.python.worker.reuse": "true",
        # Whole-stage code generation compiles for seconds what then runs for milliseconds.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.adaptive.enabled": "false",
    }
    made = session(cores=1, memory="700m", extra=settings)
    yield made
    made.stop()
