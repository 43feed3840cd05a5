"""Which bundle is in force: loaded beside the old one, verified and warm before it takes over, and back at once."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewrite.registry import Registry, RegistryError
from serving.job import Loaded
from serving.pool import Pool


class NoSuchBundle(ValueError):
    """The registry has no bundle of that name, or there is none to go back to."""


class BadBundle(ValueError):
    """A bundle cannot be used: damaged, incomplete, or it fails its golden turns. Nothing has changed."""


@dataclass(frozen=True)
class InForce:
    """A bundle that is open in every worker."""

    bundle_id: str
    path: str
    facts: Any = field(default_factory=dict)
    since: float = field(default_factory=time.time)

    @property
    def epoch(self) -> int:
        """Tombstones up to this one were heeded when it was built."""
        return int(self.facts.get("deletion_epoch") or 0)


class Holder:
    """The bundle in force and the one before it, which both stay open; beside them a challenger, if there is one."""

    def __init__(
        self, pool: Pool, registry: Registry | None, bundle: Path | None, on_load: Callable[[bool], object] = bool
    ) -> None:
        self.current: InForce | None = None
        self.previous: InForce | None = None
        self.challenger: InForce | None = None
        self.pinned = False
        self.error: str | None = None
        self.registry = registry
        self._pool = pool
        self._bundle = bundle
        self._on_load = on_load
        self._lock = asyncio.Lock()
        self._refused: str | None = None
        self._holds: dict[str, ExitStack] = {}

    async def reload(self, name: str | None = None) -> InForce:
        """Put a bundle in force: `name` (which pins it), else the registry's champion or the bundle given at the start.

        Raises:
            NoSuchBundle: there is none. BadBundle: it cannot be used; the old one stays.
        """
        async with self._lock:
            path = self._path(name)
            held = self._held(Path(path).name if self.registry is not None else name)
            found = held or await self._opened(path)
            self.pinned = name is not None
            return self._swap(found)

    async def rollback(self) -> InForce:
        """Put the previous bundle in force, from memory where it is open, and move the registry's aliases.

        Raises:
            NoSuchBundle: there is nothing to go back to. BadBundle: it cannot be used.
        """
        async with self._lock:
            name = self._previous_name()
            held = self._held(name)
            found = held or await self._opened(self._path(name))
            before = self.current
            self._swap(found)
            if self.registry is not None:
                try:
                    await asyncio.to_thread(self.registry.rollback, by="serve", reason="asked for over HTTP")
                except (ValueError, OSError) as error:
                    if before is not None:
                        self._swap(before)
                    raise BadBundle(f"the registry could not be rolled back: {error}") from error
            self.pinned = False
            return found

    async def follow(self) -> bool:
        """Reload if the champion moved; True where a bundle came into force. What was refused is not tried again."""
        if self.registry is None or self.pinned or self._lock.locked():
            return False
        champion = self.registry.resolve("champion")
        if champion is None or champion == self._refused or (self.current and champion == self.current.bundle_id):
            return False
        try:
            await self.reload()
        except (NoSuchBundle, BadBundle):
            self._refused = champion
            return False
        return True

    async def accompany(self, name: str | None) -> None:
        """Open a challenger beside the bundle in force; None closes it.

        Raises:
            NoSuchBundle: there is none of that name. BadBundle: it cannot be used. No challenger is open then.
        """
        async with self._lock:
            self.challenger = None
            if name is not None:
                self.challenger = self._held(name) or await self._opened(self._path(name))
            self._close_others()

    def listed(self) -> list[dict[str, Any]]:
        """Every bundle known, with its aliases and whether it is in force."""
        aliases = self.registry.aliases() if self.registry is not None else {}
        names = self.registry.bundles() if self.registry is not None else []
        held = [b.bundle_id for b in self._open]
        names += [name for name in held if name not in names]
        current = self.current.bundle_id if self.current else None
        return [
            {
                "bundle": n,
                "aliases": [a for a, of in aliases.items() if of == n],
                "in_force": n == current,
                "open": n in held,
            }
            for n in names
        ]

    def _path(self, name: str | None) -> str:
        if self.registry is None:
            assert self._bundle is not None
            known = {b.bundle_id: b.path for b in self._open}
            if name is not None and name not in known:
                raise NoSuchBundle(f"no such bundle; got {name!r}; without a registry only those open are known")
            return known[name] if name is not None else str(self._bundle)
        try:
            return str(self.registry.path(name or "champion"))
        except (RegistryError, OSError) as error:
            raise NoSuchBundle(str(error)) from error

    def _previous_name(self) -> str:
        if self.registry is None:
            if self.previous is None:
                raise NoSuchBundle("nothing to go back to: no other bundle was in force")
            return self.previous.bundle_id
        previous = self.registry.resolve("previous")
        if previous is None or previous == self.registry.resolve("champion"):
            raise NoSuchBundle("nothing to go back to: the registry has no other previous bundle")
        return previous

    def _held(self, bundle_id: str | None) -> InForce | None:
        """The bundle of that id if it is open already."""
        return next((b for b in self._open if b.bundle_id == bundle_id), None)

    @property
    def _open(self) -> list[InForce]:
        return [b for b in (self.current, self.previous, self.challenger) if b is not None]

    async def _opened(self, path: str) -> InForce:
        """Open a bundle in every worker, kept from being retired meanwhile and while it is held.

        Raises:
            BadBundle: it cannot be used.
        """
        stack = ExitStack()
        loaded = Loaded(path)
        try:
            if self.registry is not None:
                stack.enter_context(self.registry.hold(Path(path).name))
            loaded = await self._pool.open(path)
        except (ValueError, OSError) as error:
            loaded = Loaded(path, error=str(error))
        self.error = loaded.error
        self._on_load(loaded.error is None)
        if loaded.bundle_id is None:
            stack.close()
            self._close_others()
            raise BadBundle(f"bundle {Path(path).name} cannot be used; {loaded.error}")
        self._holds.setdefault(loaded.bundle_id, ExitStack()).push(stack)
        return InForce(loaded.bundle_id, path, loaded.facts)

    def _swap(self, found: InForce) -> InForce:
        """The moment of the change: one assignment, between two requests."""
        if self.current is not None and found.bundle_id != self.current.bundle_id:
            self.previous = self.current
        self.current = found
        self._refused = None
        self._close_others()
        return found

    def _close_others(self) -> None:
        keep = frozenset(b.bundle_id for b in self._open)
        self._pool.keep(keep)
        for name in [name for name in self._holds if name not in keep]:
            self._holds.pop(name).close()
