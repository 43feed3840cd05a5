"""The tombstone log: users forgotten, texts blocked, pairs pinned; on disk before anybody is told that it is done.

One JSON line per order, oldest first, each with its `epoch`, counting from 1. A bundle whose manifest has a
`deletion_epoch` of n was built without what the orders up to n took out, so for that bundle forgetting up to n is
done; a block stays in force until it is lifted. The file may be shared: the service sees orders that others append.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rewrite.disk import fsync
from rewrite.text import normalise
from serving.job import Hidden

FILE = "tombstones.jsonl"
KINDS = ("forget", "block", "unblock", "pin", "unpin")


class TombstoneLog:
    """Orders on disk and, as `hidden`, what they come to."""

    def __init__(self, folder: Path) -> None:
        """Open the log in `folder`, which is made if it is not there.

        Raises:
            ValueError: the log is damaged: what it ordered is not known, so nothing may be served.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self.hidden = Hidden()
        self._read_to = 0
        self.refresh()

    def refresh(self) -> bool:
        """Read what was appended since the last time; True where anything was. Costs one `stat` where nothing was."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < self._read_to:
            raise ValueError(
                f"{self.path} became shorter; got {size} bytes, expected {self._read_to} or more; was it overwritten? "
                "Orders are only ever appended: put the whole file back"
            )
        if size == self._read_to:
            return False
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # a torn last line was never acknowledged
        for line in whole.splitlines():
            self.hidden = _applied(self.hidden, self._order(line))
        self._read_to += len(whole)
        return bool(whole)

    def forget(self, user_id: str) -> int:
        """Order that a user be forgotten; returns the order's epoch once it is on disk."""
        return self._append("forget", user_id)

    def block(self, text: str, blocked: bool = True) -> int:
        """Block a text, or lift its block; returns the order's epoch once it is on disk.

        Raises:
            ValueError: nothing is left of the text after normalising.
        """
        plain = normalise(text)
        if not plain:
            raise ValueError(f"nothing to block; got {text!r}; expected a text that is not empty after normalising")
        return self._append("block" if blocked else "unblock", plain)

    def pin(self, source: str, target: str | None) -> int:
        """Always rewrite `source` to `target`, or, with None, decide it as any other text; returns the order's epoch.

        Raises:
            ValueError: nothing is left of a text after normalising, or they are the same.
        """
        heard, meant = normalise(source), normalise(target or "")
        if not heard or (target is not None and (not meant or meant == heard)):
            raise ValueError(f"nothing to pin; got {source!r} and {target!r}; expected two texts that differ")
        return self._append("unpin", heard) if target is None else self._append("pin", heard, target=meant)

    def forgotten(self) -> dict[str, str]:
        """Every user who was forgotten, and when last (ISO 8601)."""
        return {order["value"]: order["at"] for order in self.orders() if order["kind"] == "forget"}

    def orders(self) -> list[dict[str, Any]]:
        """Every order, oldest first."""
        with self.path.open("rb") if self.path.exists() else open(os.devnull, "rb") as file:
            return [self._order(line) for line in file if line.endswith(b"\n")]

    def _append(self, kind: str, value: str, **more: str) -> int:
        with self._locked() as descriptor:
            self.refresh()
            os.ftruncate(descriptor, self._read_to)  # what a kill tore off mid-line
            epoch = self.hidden.epoch + 1
            order = {"epoch": epoch, "at": datetime.now(UTC).isoformat(), "kind": kind, "value": value, **more}
            line = json.dumps(order, sort_keys=True).encode() + b"\n"
            try:
                if os.pwrite(descriptor, line, self._read_to) < len(line):
                    raise OSError(28, "no space left for the order", str(self.path))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, self._read_to)
                raise
            if self._read_to == 0:
                fsync(self.path.parent)
        self.refresh()
        return epoch

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _order(self, line: bytes) -> dict[str, Any]:
        try:
            order = json.loads(line)
            texts = [order["value"], *([order["target"]] if order["kind"] == "pin" else [])]
            if order["kind"] in KINDS and all(isinstance(t, str) for t in texts) and isinstance(order["epoch"], int):
                return dict(order)
        except (ValueError, KeyError, TypeError):
            pass
        raise ValueError(
            f"{self.path} is damaged; got {line[:80]!r}; expected a JSON order (epoch, kind, value); restore it from a "
            "copy: without it forgotten users and blocked texts would come back"
        )


def _applied(hidden: Hidden, order: dict[str, Any]) -> Hidden:
    kind, value, epoch = order["kind"], order["value"], order["epoch"]
    if kind == "forget":
        return replace(hidden, users={**hidden.users, value: epoch}, epoch=epoch)
    if kind in ("pin", "unpin"):
        others = {source: target for source, target in hidden.pinned.items() if source != value}
        pinned = {**others, value: order["target"]} if kind == "pin" else others
        return replace(hidden, pinned=pinned, epoch=epoch)
    blocked = hidden.blocked | {value} if kind == "block" else hidden.blocked - {value}
    return replace(hidden, blocked=blocked, epoch=epoch)
