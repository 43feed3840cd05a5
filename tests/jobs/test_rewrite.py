"""`reprise rewrite` in several processes."""

import concurrent.futures
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import rewrite


class Pool:
    """Stands in for the processes: remembers how Ctrl-C was handled when they began, and how they were ended."""

    handler: Any = None
    ended: dict[str, Any] | None = None

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, decide: Any, chunks: list[Any]) -> Iterator[Any]:
        Pool.handler = signal.getsignal(signal.SIGINT)
        return iter(chunks)

    def shutdown(self, **options: Any) -> None:
        Pool.ended = options


def interrupted_after_the_first_chunk() -> None:
    with rewrite._mapper(Path("bundle"), 1, 2) as each:
        next(each([[], []]))
        raise KeyboardInterrupt


def test_workers_never_hear_of_an_interrupt_and_take_no_more_work_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr("rewrite.bundle.verify", lambda path: {})
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupted_after_the_first_chunk()
    assert signal.getsignal(signal.SIGINT) is before
    assert Pool.handler is signal.SIG_IGN
    assert Pool.ended == {"cancel_futures": True}
