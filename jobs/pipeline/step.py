"""One step of a pipeline: what it is keyed by, what it does, and running a list of them so that a kill costs one step.

A step's result lies in a folder named after the hash of everything that it depends on; a finished folder is never
computed again and never changed.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.rundir import complete, files_of, published, write_json

Paths = Mapping[str, Path]
"""Folders of finished steps, by step name."""


@dataclass(frozen=True)
class Step:
    """A named piece of work.

    Attributes:
        settings: plain values; a change of any of them is another key.
        needs: names of earlier steps whose results are read.
        do: writes the result into a fresh folder (first argument), reading the folders of `needs` (second); the third
            is a scratch folder that outlives a kill, for checkpoints.
        version: to be raised when the same settings come to mean other results.
    """

    name: str
    do: Callable[[Path, Paths, Path], None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    version: int = 1


@dataclass(frozen=True)
class Done:
    """A finished step: its key, its folder, whether it was there already, and the time it took, seconds."""

    name: str
    key: str
    folder: Path
    skipped: bool
    seconds: float


def key_of(step: Step, keys: Mapping[str, str]) -> str:
    """Hash of everything that `step` depends on; `keys` are those of the earlier steps.

    Raises:
        KeyError: it needs a step that does not come before it.
    """
    content = [step.name, step.version, step.settings, {name: keys[name] for name in step.needs}]
    return digest(content)


def digest(content: object) -> str:
    """16 hexadecimal digits of the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def run_steps(
    steps: Sequence[Step],
    root: Path,
    before: Callable[[Step, str], None] = lambda step, key: None,
    after: Callable[[Done], None] = lambda done: None,
) -> list[Done]:
    """Run those steps that are not finished, in their order, and return all of them.

    Args:
        root: holds one folder per finished step, `<name>-<key>`.
        before: called before each step with it and its key; may raise to stop. after: with what each one came to.
    """
    keys: dict[str, str] = {}
    done: list[Done] = []
    for step in steps:
        keys[step.name] = key_of(step, keys)
        before(step, keys[step.name])
        done.append(_run(step, keys, root, {d.name: d.folder for d in done}))
        after(done[-1])
    return done


def _run(step: Step, keys: Mapping[str, str], root: Path, paths: Paths) -> Done:
    key = keys[step.name]
    folder, scratch = root / f"{step.name}-{key}", root / f".scratch-{step.name}-{key}"
    if complete(folder):
        shutil.rmtree(scratch, ignore_errors=True)  # of a kill just after publishing
        return Done(step.name, key, folder, True, 0.0)
    started = time.monotonic()
    scratch.mkdir(parents=True, exist_ok=True)
    with published(folder) as fresh:
        step.do(fresh, {name: paths[name] for name in step.needs}, scratch)
        facts = {"step": step.name, "version": step.version, "settings": dict(step.settings)}
        needs = {name: keys[name] for name in step.needs}
        write_json(fresh / "manifest.json", {**facts, "key": key, "needs": needs, "files": files_of(fresh)})
    shutil.rmtree(scratch, ignore_errors=True)
    return Done(step.name, key, folder, False, time.monotonic() - started)
