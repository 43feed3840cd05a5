"""A worker process: reads jobs and orders from one pipe, writes answers to another, ends when either closes."""

import os
import signal
import threading
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from serving.seats import WorkerSettings
from serving.sweeping import Sweeper
from serving.wire import packed, read_items, write_all
from serving.worker import Worker


def main(orders: Connection, answers: Connection, settings: WorkerSettings) -> None:
    """Run until the service closes its end."""
    _ignore_interrupts()
    module, _, name = settings.opener.partition(":")
    opener = getattr(import_module(module), name)
    lock = threading.Lock()

    def say(item: Any) -> None:
        try:
            with lock:
                write_all(answers.fileno(), packed(item))
        except OSError:
            os._exit(1)  # nobody listens any more

    worker = Worker(lambda path: opener(path, settings), say, settings.model_batch, PipeInbox(orders), Sweeper())
    worker.join()
    answers.close()


class PipeInbox:
    """What comes through a pipe, read by whoever wants the next item: no thread has to hand it on."""

    def __init__(self, orders: Connection) -> None:
        self._items = read_items(orders)

    def get(self) -> Any:
        """The next item; None once the pipe is closed."""
        return next(self._items, None)


def _ignore_interrupts() -> None:
    """Ctrl-C and SIGTERM are for the service, which ends its workers itself once they have answered."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
