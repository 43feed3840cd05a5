"""Where a worker sits: in the service's own process or in one of its own.

A process of its own keeps the interpreter that speaks HTTP free, shares weights and tries through the page cache, and
takes nothing down with it when it dies.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from serving.outbox import Outbox
from serving.wire import Unpacker, packed

Hear = Callable[["Seat", Any], None]


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know to open bundles (see `ServeConfig`).

    `opener` names the function that opens them: `module:function`, called with a path and these settings.
    """

    threads: int = 1
    model_batch: int = 8
    precision: str = "fp32"
    device: str = "auto"
    scores: int = 200_000
    users: int = 2000
    opener: str = "serving.engine:open_bundle"


class Seat(Protocol):
    """Where one worker sits."""

    jobs: set[int]

    def give(self, item: Any) -> None:
        """Hand an item over."""

    def alive(self) -> bool:
        """Whether it can take any."""

    async def stop(self) -> None:
        """End it once it has answered everything."""


class InlineSeat:
    """A worker in the service's own process."""

    def __init__(self, open_bundle: Callable[[str], Any], hear: Hear, model_batch: int = 8) -> None:
        from serving.worker import Worker

        self.jobs: set[int] = set()
        loop = asyncio.get_running_loop()

        def say(item: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(hear, self, item)

        self._worker = Worker(open_bundle, say, model_batch)

    def give(self, item: Any) -> None:
        self._worker.give(item)

    def alive(self) -> bool:
        return True

    async def stop(self) -> None:
        self._worker.give(None)
        await asyncio.to_thread(self._worker.join)


class ProcessSeat:
    """A worker in a process of its own. A full pipe stalls nobody."""

    def __init__(self, settings: WorkerSettings, hear: Hear, gone: Callable[["ProcessSeat"], None]) -> None:
        from serving import child

        self.jobs: set[int] = set()
        context = multiprocessing.get_context("spawn")
        orders, ours = context.Pipe(duplex=False)
        self._answers, answers = context.Pipe(duplex=False)
        self.process = context.Process(target=child.main, args=(orders, answers, settings), daemon=True)
        self.process.start()
        orders.close()
        answers.close()
        os.set_blocking(self._answers.fileno(), False)
        self._unpacker, self._hear, self._gone = Unpacker(), hear, gone
        self._open = True
        self._outbox = Outbox(ours)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._answers.fileno(), self._read)

    def give(self, item: Any) -> None:
        self._outbox.put(packed(item))

    def alive(self) -> bool:
        return self._open

    async def stop(self) -> None:
        self._outbox.close()
        await asyncio.to_thread(self.process.join, 10)
        if self.process.is_alive():
            self.process.kill()
            await asyncio.to_thread(self.process.join, 5)
        self._close()

    def _read(self) -> None:
        try:
            data = os.read(self._answers.fileno(), 1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            for item in self._unpacker.feed(data):
                self._hear(self, item)
        else:
            self._close()
            self._gone(self)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._answers.fileno())
            self._answers.close()
            self._outbox.close()
