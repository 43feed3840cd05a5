"""A worker process: reads jobs and orders from one pipe, writes answers to another, ends when either closes."""

import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

from serving.seats import WorkerSettings
from serving.wire import packed, read_items, write_all


def main(orders: Connection, answers: Connection, settings: WorkerSettings) -> None:
    """Run until the service closes its end."""
    _ignore_interrupts()
    import torch

    from serving.engine import BundleEngine
    from serving.worker import Worker

    torch.set_num_threads(settings.threads)
    lock = threading.Lock()

    def open_bundle(path: str) -> BundleEngine:
        from pathlib import Path

        return BundleEngine.load(Path(path), settings.precision, settings.device, settings.scores, settings.users)

    def say(item: Any) -> None:
        try:
            with lock:
                write_all(answers.fileno(), packed(item))
        except OSError:
            os._exit(1)  # nobody listens any more

    worker = Worker(open_bundle, say, settings.model_batch)
    for item in read_items(orders):
        worker.give(item)
    worker.give(None)
    worker.join()
    answers.close()


def _ignore_interrupts() -> None:
    """Ctrl-C and SIGTERM are for the service, which ends its workers itself once they have answered."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
