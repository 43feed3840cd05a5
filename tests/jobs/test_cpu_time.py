"""CPU time of a process tree."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.bench import cpu_time
from jobs.bench.cpu_time import PROC, cpu_s, stolen_s

BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"


@pytest.mark.skipif(not PROC.exists(), reason="needs /proc")
def test_what_a_child_used_counts_for_its_parent_and_not_the_other_way_round() -> None:
    before = cpu_s(os.getpid())
    assert before is not None
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "done\n"
        alone, together = cpu_s(child.pid), cpu_s(os.getpid())
        assert alone is not None
        assert together is not None
        assert 0.25 < alone < 5
        assert together - before >= alone - 0.02
        assert together > alone
        child.stdin.write("\n")


def test_stolen_time_is_read_where_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_time, "PROC", tmp_path)
    assert stolen_s() is None
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 800 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")
    assert stolen_s() == pytest.approx(800 / os.sysconf("SC_CLK_TCK"))
    (tmp_path / "stat").write_text("cpu  1 2 3 4\n")
    assert stolen_s() is None


def test_a_process_that_is_gone_has_no_cpu_time() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert cpu_s(child.pid) is None
