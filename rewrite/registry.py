"""The registry: a folder of immutable bundles, and the aliases that say which of them is in force.

```
REG/bundles/<id>/   what `reprise learn` packed, never changed in place
REG/aliases/        champion, challenger, previous: one line each, the id; replaced atomically
REG/history.jsonl   who published, promoted, rolled back or retired what, when and why
```
Standard library only, so that rolling back or listing loads no model.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rewrite.bundle import verify as verify_bundle
from rewrite.disk import append_line, fsync, fsync_tree, read_lines, replace_text

ALIASES = ("champion", "challenger", "previous")

Verify = Callable[[Path], dict[str, Any]]
"""Checks a bundle's folder and returns its manifest, or raises ValueError."""


class RegistryError(ValueError):
    """No such bundle or alias, or nothing to go back to."""


class Registry:
    """One registry's folder. Readers need no lock; writers take turns on a file lock."""

    def __init__(self, root: Path, verify: Verify = verify_bundle) -> None:
        self.root = root
        self._verify = verify

    def bundles(self) -> list[str]:
        """Ids of all bundles, the first published first."""
        found = {p.name for p in self._folder.glob("*") if p.is_dir() and not p.name.startswith(".")}
        order = {e["bundle"]: row for row, e in enumerate(self.history()) if e["event"] == "publish"}
        return sorted(found, key=lambda name: (order.get(name, -1), name))

    def aliases(self) -> dict[str, str]:
        """Alias to bundle id, of the aliases that are set."""
        return {alias: name for alias in ALIASES if (name := self.resolve(alias)) is not None}

    def resolve(self, alias: str) -> str | None:
        """The id an alias stands for, None where it is not set.

        Raises:
            RegistryError: no such alias.
        """
        if alias not in ALIASES:
            raise RegistryError(f"no such alias; got {alias!r}; expected one of {', '.join(ALIASES)}; a typing slip?")
        try:
            return (self.root / "aliases" / alias).read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def path(self, name: str) -> Path:
        """The folder of a bundle, by alias, id or unambiguous beginning of an id.

        Raises:
            RegistryError: there is none, or several ids begin so.
        """
        wanted = self.resolve(name) if name in ALIASES else name
        if wanted is None:
            raise RegistryError(
                f"alias {name} is not set in {self.root}; `reprise run` or `reprise bundles promote` sets it"
            )
        found = [b for b in self.bundles() if b == wanted] or [
            b for b in self.bundles() if wanted and b.startswith(wanted)
        ]
        if len(found) != 1:
            raise RegistryError(
                f"no single bundle {wanted!r} in {self.root}; got {len(found)} of that name; expected an id or alias "
                "from `reprise bundles list`; was it retired?"
            )
        return self._folder / found[0]

    def history(self) -> list[dict[str, Any]]:
        """Everything that was done to this registry, oldest first: event, at (ISO, UTC), by, reason, bundle, …."""
        return [e for e in read_lines(self.root / "history.jsonl") if "event" in e]

    def publish(self, folder: Path, *, by: str = "", reason: str = "") -> str:
        """Copy a bundle in, whole or not at all; returns its id. Publishing the same bundle again changes nothing.

        Raises:
            ValueError: the bundle does not verify.
        """
        name = str(self._verify(folder)["id"])
        with self._writing():
            out = self._folder / name
            if not out.exists():
                part = self._folder / f".part-{name}"
                shutil.rmtree(part, ignore_errors=True)
                shutil.copytree(folder, part)
                self._verify(part)
                fsync_tree(part)
                part.rename(out)
                fsync(self._folder)
            if not any(e["event"] == "publish" and e["bundle"] == name for e in self.history()):
                self._note("publish", name, by, reason)
        return name

    def point(self, alias: str, name: str | None, *, by: str = "", reason: str = "") -> None:
        """Set an alias to a bundle that verifies, or unset it with None.

        Raises:
            ValueError: no such alias or bundle, or the bundle is damaged.
        """
        self.resolve(alias)  # refuses what is no alias
        if name is None:
            with self._writing():
                self._move(alias, None, by, reason)
        else:
            with self._verified(name) as wanted, self._writing():
                self._move(alias, wanted, by, reason)

    def promote(self, name: str, *, by: str = "", reason: str = "") -> str:
        """Make a bundle the champion, and the champion the previous one; returns its id.

        A kill in between leaves the old champion in force.

        Raises:
            ValueError: no such bundle, or it is damaged.
        """
        with self._verified(name) as wanted, self._writing():
            champion = self.resolve("champion")
            if champion == wanted:
                return wanted
            if champion is not None:
                self._set("previous", champion)
            self._set("champion", wanted)
            if self.resolve("challenger") == wanted:
                self._set("challenger", None)
            self._note("promote", wanted, by, reason, before=champion)
        return wanted

    def rollback(self, *, by: str = "", reason: str = "") -> str:
        """Swap champion and previous; returns the id now in force. A kill in between leaves the new state in force.

        Raises:
            ValueError: there is nothing to go back to, or it is damaged.
        """
        champion, previous = self.resolve("champion"), self.resolve("previous")
        if previous is None or previous == champion:
            raise RegistryError(
                f"nothing to roll back to in {self.root}: no other champion was in force before this one"
            )
        with self._verified(previous), self._writing():
            self._set("champion", previous)
            if champion is not None:
                self._set("previous", champion)
            self._note("rollback", previous, by, reason, before=champion)
        return previous

    @contextmanager
    def hold(self, name: str) -> Iterator[Path]:
        """Keep a bundle from being retired while the block runs, in this process or any other; yields its folder.

        Raises:
            RegistryError: there is no such bundle.
        """
        folder = self.path(name)
        descriptor = os.open(folder / "manifest.json", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if not folder.exists():
                raise RegistryError(f"bundle {folder.name} was retired just now; ask for the alias again")
            yield folder
        finally:
            os.close(descriptor)

    def retire(self, keep: int, *, by: str = "") -> list[str]:
        """Remove the oldest bundles until `keep` are left, but none that an alias names or a process holds; returns
        the ids removed.
        """
        removed = []
        with self._writing():
            for left in self._folder.glob(".*"):  # of publishing or retiring that was killed
                shutil.rmtree(left)
            bundles = self.bundles()
            spare = [name for name in bundles if name not in self.aliases().values()]
            for name in spare[: max(0, len(bundles) - keep)]:
                if self._remove(name):
                    self._note("retire", name, by, f"{keep} kept")
                    removed.append(name)
        return removed

    @contextmanager
    def _verified(self, name: str) -> Iterator[str]:
        """The id of a bundle that verifies and cannot be retired meanwhile."""
        with self.hold(name) as folder:
            yield str(self._verify(folder)["id"])

    @property
    def _folder(self) -> Path:
        return self.root / "bundles"

    def _remove(self, name: str) -> bool:
        """Remove a bundle unless somebody holds it; renamed first, so that no reader finds half of it."""
        with (self._folder / name / "manifest.json").open("rb") as manifest:
            try:
                fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            gone = (self._folder / name).rename(self._folder / f".gone-{name}")
        shutil.rmtree(gone)
        return True

    def _move(self, alias: str, name: str | None, by: str, reason: str) -> None:
        before = self.resolve(alias)
        self._set(alias, name)
        self._note("point", name or "", by, reason, alias=alias, before=before)

    def _set(self, alias: str, name: str | None) -> None:
        folder = self.root / "aliases"
        if name is None:
            (folder / alias).unlink(missing_ok=True)
            fsync(folder)
        else:
            replace_text(folder / alias, name + "\n")

    def _note(self, event: str, name: str, by: str, reason: str, **more: object) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        append_line(
            self.root / "history.jsonl", {"event": event, "bundle": name, "at": at, "by": by, "reason": reason, **more}
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time; the lock falls with its process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self.root / "aliases").mkdir(exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
