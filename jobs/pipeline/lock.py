"""A lock that one run holds: it names its owner, and a heartbeat shows that the owner lives, on any machine."""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rewrite.disk import replace_text


class Locked(ValueError):
    """Another run holds the lock."""


class LockLost(RuntimeError):
    """Another run took the lock over, as this one's heartbeat had stopped: stop without writing more."""


class Lock:
    """One file; who may create it holds the lock.

    Args:
        stale_s: silence after which the owner is taken for dead, seconds; an owner on this machine whose process has
            ended is dead at once.
    """

    def __init__(self, path: Path, stale_s: float = 120.0) -> None:
        self.path, self.stale_s = path, stale_s
        self._id = uuid.uuid4().hex
        self._ended = threading.Event()

    def owner(self) -> dict[str, Any] | None:
        """Who holds the lock: id, host, pid, since (Unix time, s); None where nobody does."""
        try:
            found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found

    @contextmanager
    def held(self) -> Iterator["Lock"]:
        """Hold the lock during the block.

        Raises:
            Locked: somebody else does.
        """
        self._take()
        beating = threading.Thread(target=self._beat, daemon=True)
        beating.start()
        try:
            yield self
        finally:
            self._ended.set()
            beating.join()
            with self._guard():
                if self._ours():
                    self.path.unlink()

    def check(self) -> None:
        """Raise LockLost where another run has taken over."""
        if not self._ours():
            raise LockLost(f"{self.path} is no longer ours: it is held by {self.owner()}; was this process suspended?")

    def _take(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._guard():
            owner = self.owner()
            if owner is not None and self._alive(owner):
                raise Locked(
                    f"{self.path} is held by process {owner['pid']} on {owner['host']} since "
                    f"{time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(owner['since']))}, last heard "
                    f"{self._silence_s():.0f} s ago; one run at a time; wait for it"
                )
            about = {"id": self._id, "host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
            replace_text(self.path, json.dumps(about) + "\n")

    def _alive(self, owner: dict[str, Any]) -> bool:
        if owner["host"] == socket.gethostname() and not _runs(owner["pid"]):
            return False
        return self._silence_s() < self.stale_s

    def _silence_s(self) -> float:
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except FileNotFoundError:
            return float("inf")

    def _ours(self) -> bool:
        return (self.owner() or {}).get("id") == self._id

    def _beat(self) -> None:
        while not self._ended.wait(self.stale_s / 6):
            if not self._ours():
                return
            os.utime(self.path)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Looking and taking are one step: no two processes judge the same owner dead at once."""
        with self.path.with_name(f".{self.path.name}.guard").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
