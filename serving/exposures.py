"""The exposure log: what was decided for every turn, on disk before the answer goes out.

Rotated JSON lines. A line is written to the operating system before its answer is sent, so the death of the process
loses none; it is forced to disk every `fsync_s` seconds (0: each time), so a power cut loses at most that much.
A line that cannot be written means that the rewrite is not made.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rewrite.disk import fsync

PATTERN = "exposures-*.jsonl"


class ExposureLog:
    """Appends to one file at a time in `folder`; used from one thread, except `sync`."""

    def __init__(
        self, folder: Path, rotate_bytes: int = 64 * 2**20, rotate_s: float = 3600, fsync_s: float = 1
    ) -> None:
        self.folder = folder
        self.failing: str | None = None
        self.records = 0
        self._rotate_bytes, self._rotate_s, self._fsync_s = rotate_bytes, rotate_s, fsync_s
        self._descriptor = -1
        self._path: Path | None = None
        self._size = 0
        self._opened_s = 0.0
        self._unsynced = False

    def append(self, record: Mapping[str, Any]) -> bool:
        """Write one record; False where it could not be kept, with the cause in `failing`."""
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            self._rotate_if_due(len(line))
            self._write(line)
        except OSError as error:
            self.failing = error.strerror or type(error).__name__
            return False
        self.failing = None
        self.records += 1
        return True

    def sync(self) -> None:
        """Force what was appended to disk (from any thread)."""
        if self._unsynced and self._descriptor >= 0:
            self._unsynced = False
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._unsynced = True
                self.failing = error.strerror or type(error).__name__

    def rotate(self) -> None:
        """Close the file in use; the next record begins another."""
        if self._descriptor >= 0:
            self.sync()
            os.close(self._descriptor)
            self._descriptor, self._path = -1, None

    close = rotate

    def _rotate_if_due(self, more: int) -> None:
        full = self._size + more > self._rotate_bytes
        if self._descriptor >= 0 and (full or time.monotonic() - self._opened_s > self._rotate_s):
            self.rotate()
        if self._descriptor < 0:
            self._open()

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(10_000):
            path = self.folder / f"exposures-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}-{number:04d}.jsonl"
            try:
                # exclusive: after the clock was set back a name may be taken
                self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
                break
            except FileExistsError:
                continue
        self._path, self._size, self._opened_s = path, 0, time.monotonic()
        fsync(self.folder)

    def _write(self, line: bytes) -> None:
        written = 0
        try:
            written = os.write(self._descriptor, line)
        finally:
            if 0 < written < len(line):  # half a line would spoil the next one
                os.ftruncate(self._descriptor, self._size)
        if written < len(line):
            raise OSError(28, "no space left on device")
        self._size += written
        self._unsynced = True
        if self._fsync_s == 0:
            self.sync()
            if self._unsynced:
                raise OSError(5, self.failing or "not forced to disk")

    @property
    def current(self) -> Path | None:
        """The file in use, None between files."""
        return self._path


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Every whole record under `folder`, file by file; a line that a kill tore is left out."""
    for path in sorted(folder.glob(PATTERN)):
        yield from _records(path)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def scrub(folder: Path, users: Iterable[str] | Mapping[str, str], keep: Path | None = None) -> int:
    """Take every record of `users` out of the closed files; returns how many. `keep` is the file in use.

    Each file is replaced as a whole, so a kill leaves the old or the new one.

    Args:
        users: ids, each with the moment (ISO 8601) up to which it is forgotten, if later records are to stay.
    """
    gone = users if isinstance(users, Mapping) else dict.fromkeys(users, "")
    marks = [json.dumps(user).encode() for user in gone]
    removed = 0
    if not gone or not folder.is_dir():
        return 0
    for path in sorted(folder.glob(PATTERN)):
        if path == keep:
            continue
        data = path.read_bytes()
        if not any(mark in data for mark in marks):
            continue
        lines = data.splitlines(keepends=True)
        kept = [line for line in lines if not any(m in line for m in marks) or not _is_gone(line, gone)]
        removed += len(lines) - len(kept)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(b"".join(kept))
        fsync(part)
        part.replace(path)
    fsync(folder)
    return removed


def _is_gone(line: bytes, gone: Mapping[str, str]) -> bool:
    try:
        record = json.loads(line)
        user, at = record.get("user_id"), record.get("at")
    except (ValueError, AttributeError):
        return False
    if not isinstance(user, str) or user not in gone:
        return False
    return not gone[user] or not at or datetime.fromisoformat(at) <= datetime.fromisoformat(gone[user])
