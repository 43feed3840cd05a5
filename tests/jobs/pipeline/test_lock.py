"""The lock: one at a time, the dead make room, and who lost it stops."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.pipeline.lock import Lock, Locked, LockLost

HOLDER = """
import sys, time
from pathlib import Path
from jobs.pipeline.lock import Lock
with Lock(Path(sys.argv[1]), float(sys.argv[2])).held():
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path, stale_s: float = 60.0) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), str(stale_s)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    first = holder(tmp_path / "lock")
    try:
        with pytest.raises(Locked, match=f"held by process {first.pid}"), Lock(tmp_path / "lock").held():
            pass
    finally:
        end(first)


def test_a_killed_holder_makes_room_at_once(tmp_path: Path) -> None:
    end(holder(tmp_path / "lock"))
    with Lock(tmp_path / "lock").held() as lock:
        assert (lock.owner() or {})["pid"] == os.getpid()
    assert not (tmp_path / "lock").exists()


def test_a_silent_holder_on_another_machine_makes_room_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"id": "x", "host": "elsewhere", "pid": 1, "since": time.time()}))
    with pytest.raises(Locked), Lock(path, stale_s=5.0).held():
        pass
    os.utime(path, (time.time() - 6, time.time() - 6))
    with Lock(path, stale_s=5.0).held():
        pass


def test_the_heartbeat_keeps_the_lock_alive(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock", stale_s=0.3).held():
        time.sleep(0.8)
        assert time.time() - (tmp_path / "lock").stat().st_mtime < 0.3


def test_who_lost_the_lock_is_told_and_leaves_the_new_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock(path).held() as lock:
        lock.check()
        path.write_text(json.dumps({"id": "x", "host": "elsewhere", "pid": 1, "since": time.time()}))
        with pytest.raises(LockLost, match="elsewhere"):
            lock.check()
    assert json.loads(path.read_text())["id"] == "x"


def test_of_many_that_find_a_dead_holder_one_takes_over(tmp_path: Path) -> None:
    end(holder(tmp_path / "lock"))
    script = HOLDER.replace("time.sleep(60)", "time.sleep(1.5)").replace(
        "with Lock", "import contextlib\nwith contextlib.suppress(ValueError), Lock"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock"), "60"]
    several = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert sorted(process.communicate()[0] for process in several) == ["", "", "", "held\n"]


def test_a_torn_lock_file_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"id": "x", "ho')
    with Lock(tmp_path / "lock").held():
        pass
