"""Run directories: written aside, published by one rename, never changed afterwards."""

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rewrite.disk import fsync, fsync_tree


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file under `folder`, by relative path, sorted."""
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in found}


def write_json(path: Path, value: object) -> None:
    """Write `value` as stable, readable JSON."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def complete(folder: Path) -> bool:
    """Whether `folder` is a finished run."""
    return (folder / "_SUCCESS").is_file() and (folder / "manifest.json").is_file()


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        ValueError: `folder` is not one.
    """
    if not complete(folder):
        raise ValueError(f"{folder} is not a finished run: expected manifest.json and _SUCCESS in it; did the job end?")
    result: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return result


@contextmanager
def published(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A fresh folder beside `out` that becomes `out` when the block ends well, and is removed when it fails.

    A kill leaves the folder behind and `out` as it was; the next run sweeps it away. With `overwrite` the old run is
    moved aside only after the new one is complete on disk.
    """
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    temporary = out.parent / f"{out.name}.tmp-{os.getpid()}"
    temporary.mkdir()
    try:
        yield temporary
        (temporary / "_SUCCESS").touch()
        fsync_tree(temporary)
        _replace(temporary, out, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, out: Path, overwrite: bool) -> None:
    if out.exists() and overwrite:
        if _exchange(temporary, out):  # the old run is now the temporary folder, which the caller removes
            fsync(out.parent)
            return
        out.rename(out.parent / f"{out.name}.old-{os.getpid()}")
    temporary.rename(out)
    fsync(out.parent)
    shutil.rmtree(out.parent / f"{out.name}.old-{os.getpid()}", ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders' names in one step, so that no reader ever finds neither; False where the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _sweep(out: Path) -> None:
    """Remove what killed runs left; put back an old run that a kill between two renames left without its name."""
    for left in out.parent.glob(f"{out.name}.old-*"):
        if not out.exists() and complete(left):
            left.rename(out)
        elif not _alive(left):
            shutil.rmtree(left, ignore_errors=True)
    for left in out.parent.glob(f"{out.name}.tmp-*"):
        if not _alive(left):
            shutil.rmtree(left, ignore_errors=True)


def _alive(left: Path) -> bool:
    """Whether the process that made a temporary folder still runs."""
    pid = left.name.rpartition("-")[2]
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()
