"""A kill at any moment leaves the last complete run readable, and the next run correct."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.rundir import complete, manifest_of, published
from tests.mining import logs

STEP = """
import sys, time
from pathlib import Path
from jobs.rundir import published, write_json
out = Path(sys.argv[1])
for n in range(10_000):
    with published(out, overwrite=True) as folder:
        for part in range(4):
            (folder / f"part-{part}").write_text(str(n) * 2000)
        write_json(folder / "manifest.json", {"run": n})
"""


def test_sixty_kills_while_publishing_leave_a_whole_run_each_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen = 0
    for n in range(60):
        process = subprocess.Popen([sys.executable, "-c", STEP, str(out)], cwd=Path(__file__).parents[2])
        time.sleep(0.15 + 0.0037 * n)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if n:
            assert complete(out), "there was a complete run before the kill"
        if complete(out):
            run = str(manifest_of(out)["run"])
            assert all((out / f"part-{part}").read_text() == run * 2000 for part in range(4))
            seen += 1
        with published(out, overwrite=True) as folder:
            (folder / "manifest.json").write_text('{"run": -1}')
            for part in range(4):
                (folder / f"part-{part}").write_text("-1" * 2000)
        assert [p.name for p in tmp_path.iterdir()] == ["out"], "what a killed run left is swept by the next"
    assert seen >= 40


def test_a_failed_run_leaves_nothing_and_the_old_run_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with published(out) as folder:
        (folder / "manifest.json").write_text("{}")
    with pytest.raises(RuntimeError, match="half way"):
        _fail_half_way(out)
    assert (out / "manifest.json").read_text() == "{}"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def _fail_half_way(out: Path) -> None:
    with published(out, overwrite=True) as folder:
        (folder / "manifest.json").write_text("broken")
        raise RuntimeError("half way")


@pytest.mark.slow
@pytest.mark.spark
def test_a_mining_job_killed_at_any_moment_is_mined_rightly_by_the_next(tmp_path: Path) -> None:
    log = logs.write(logs.random_log(3, turns=80), tmp_path / "log.parquet")
    out, clean = tmp_path / "out", tmp_path / "clean"
    command = [
        sys.executable,
        "-c",
        "from jobs.cli import main; main()",
        "mine",
        str(log),
        "--min-users",
        "2",
        "--memory",
        "1g",
        "--out",
    ]
    root = Path(__file__).parents[2]
    subprocess.run([*command, str(clean)], cwd=root, check=True, capture_output=True)
    for after_s in (4.0, 9.0, 14.0, 19.0):
        process = subprocess.Popen([*command, str(out)], cwd=root, start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not out.exists() or complete(out)
    subprocess.run([*command, str(out)], cwd=root, check=True, capture_output=True)
    assert manifest_of(out)["files"] == manifest_of(clean)["files"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clean", "log.parquet", "out"]


@pytest.mark.slow
@pytest.mark.spark
def test_an_interrupted_mining_job_says_so_in_one_line(tmp_path: Path) -> None:
    log = logs.write(logs.random_log(3, turns=80), tmp_path / "log.parquet")
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from jobs.cli import main; main()"
    command = [sys.executable, "-c", start, "mine", str(log), "--memory", "1g", "--out", str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("gathering" in line for line in process.stderr)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.readlines()
    assert process.returncode == 130
    assert said == ["interrupted; nothing was written; the same command begins anew\n"]
    assert [p.name for p in tmp_path.iterdir()] == ["log.parquet"]
