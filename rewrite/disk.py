"""Writing to disk so that a kill or a power cut leaves the old state or the new one, never a mixture.

Standard library only: every room that writes may use it.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def fsync(path: Path) -> None:
    """Force a file or a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Force everything under `folder`, and the folder, to disk: contents before the entries that name them."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            fsync(Path(root) / name)
        fsync(Path(root))


def replace_text(path: Path, text: str) -> None:
    """Make `text` the whole content of `path` in one step; a reader finds the old text or the new."""
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        fsync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    fsync(path.parent)


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append `value` as one JSON line and force it to disk; a line that a kill tore is closed off first."""
    line = json.dumps(value, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            line = b"\n" + line
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file that `append_line` writes, oldest first; torn lines are left out."""
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
