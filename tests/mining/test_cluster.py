"""Mining elsewhere than in a session of its own: executors in other processes, and a Spark Connect server."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pyspark
import pytest

from jobs.rundir import manifest_of
from mining.spark import find_java
from tests.mining import logs

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SPARK = Path(pyspark.__file__).parent / "bin"
REPRISE = [sys.executable, "-c", "import sys; from jobs.cli import main; sys.exit(main())"]
MINE = ["--min-users", "2", "--min-days", "1", "--shards", "2"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return logs.write(logs.random_log(7, 600, 12), tmp_path_factory.mktemp("logs") / "log.parquet")


@pytest.fixture(scope="module")
def digests(log: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a local session makes of the log."""
    out = tmp_path_factory.mktemp("local") / "mined"
    done = subprocess.run([*REPRISE, "mine", str(log), "--out", str(out), *MINE], env=surroundings(), cwd=ROOT)
    assert done.returncode == 0
    return files_of(out)


def files_of(out: Path) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in manifest_of(out)["files"].items()}


def surroundings(**more: str) -> dict[str, str]:
    java = find_java()
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = {"PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    home = {} if java is None else {"JAVA_HOME": str(java)}
    return {**os.environ, **home, **own, "SPARK_HOME": str(SPARK.parent), "SPARK_LOCAL_IP": "127.0.0.1", **more}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(command: list[str], ready: Callable[[], bool]) -> Iterator[None]:
    """A server for the length of a block."""
    server = subprocess.Popen(
        command, env=surroundings(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(600):
            if ready():
                break
            assert server.poll() is None
            time.sleep(0.1)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def as_json_lines(log: Path, path: Path) -> Path:
    rows = pq.read_table(log).to_pylist()
    path.write_text("".join(json.dumps(row, default=lambda time: time.isoformat()) + "\n" for row in rows))
    return path


def listens(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


def test_executors_in_other_processes_write_the_same_bytes(log: Path, digests: dict[str, str], tmp_path: Path) -> None:
    port, deploy = free_port(), "org.apache.spark.deploy"
    master = [str(SPARK / "spark-class"), f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port)]
    worker = [str(SPARK / "spark-class"), f"{deploy}.worker.Worker", "--host", "127.0.0.1", "--cores", "2"]
    worker += ["--memory", "1g", "--work-dir", str(tmp_path / "work"), f"spark://127.0.0.1:{port}"]
    submit = [str(SPARK / "spark-submit"), "--master", f"spark://127.0.0.1:{port}", "--executor-memory", "1g"]
    submit += ["--conf", "spark.driver.host=127.0.0.1", "jobs/submit/mine.py", str(log), "--out", str(tmp_path / "out")]
    with (
        running([*master, "--webui-port", "0"], listens(port)),
        running([*worker, "--webui-port", "0"], (tmp_path / "work").exists),
    ):
        done = subprocess.run([*submit, *MINE], env=surroundings(), cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert any((tmp_path / "work").iterdir())
    assert files_of(tmp_path / "out") == digests


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_a_spark_connect_server_makes_the_same_bytes(
    log: Path, digests: dict[str, str], tmp_path: Path, form: str
) -> None:
    for package in ("grpc", "grpc_status", "google.rpc"):
        pytest.importorskip(package, reason="Spark Connect's client needs `pip install pyspark[connect]`")
    port = free_port()
    server = [str(SPARK / "spark-submit"), "--master", "local[2]", "--conf", "spark.driver.host=127.0.0.1"]
    server += ["--conf", "spark.connect.grpc.binding.address=127.0.0.1"]
    server += ["--conf", f"spark.connect.grpc.binding.port={port}"]
    server += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    if form == "json":
        log = as_json_lines(log, tmp_path / "log.jsonl")
    mine = [*REPRISE, "mine", str(log), "--out", str(tmp_path / "out"), *MINE]
    with running(server, listens(port)):
        there = surroundings(SPARK_REMOTE=f"sc://127.0.0.1:{port}")
        done = subprocess.run(mine, env=there, cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert files_of(tmp_path / "out") == digests
