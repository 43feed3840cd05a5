"""Progress of long work, on stderr: a bar on a terminal, plain lines everywhere else."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO, TypeVar

T = TypeVar("T")

LINE_EVERY_S = 10.0
"""Plain lines appear at most this often, and once at the end."""


def teller(stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> Callable[[str], None]:
    """Says what is under way: one plain line each, on stderr, with the seconds since this was called."""
    started = clock()

    def say(message: str) -> None:
        print(f"{clock() - started:6.1f} s  {message}", file=stream or sys.stderr, flush=True)

    return say


def quiet(message: str) -> None:
    """Says nothing."""


class Advance(Protocol):
    """Told of work done: `count` more units, a short note such as a loss, and the total where it is known only now."""

    def __call__(self, count: int = 1, note: str = "", total: int | None = None) -> None:
        """Count `count` more units as done."""


@contextmanager
def progress(label: str, total: int | None = None, stream: TextIO | None = None) -> Iterator[Advance]:
    """Show the progress of `label` while the block runs; `total` None means unknown."""
    stream = stream or sys.stderr
    with _bar(label, total, stream) if stream.isatty() else _lines(label, total, stream) as advance:
        yield advance


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`, counting them."""
    with progress(label, total if total is not None else _length(items)) as advance:
        for item in items:
            yield item
            advance()


def _length(items: object) -> int | None:
    return len(items) if hasattr(items, "__len__") else None


@contextmanager
def _bar(label: str, total: int | None, stream: TextIO) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(file=stream)) as bar:
        task = bar.add_task(label, total=total, note="")

        def advance(count: int = 1, note: str = "", total: int | None = None) -> None:
            bar.update(task, advance=count, total=total)
            if note:
                bar.update(task, note=note)

        yield advance


@contextmanager
def _lines(
    label: str, total: int | None, stream: TextIO, clock: Callable[[], float] = time.monotonic
) -> Iterator[Advance]:
    started = said = clock()
    done = 0

    def say(note: str) -> None:
        share = f" ({done / known:.0%})" if known else ""
        of = f" of {known}" if known is not None else ""
        parts = [f"{label}: {done}{of}{share}", f"{clock() - started:.0f} s", *filter(None, [note])]
        print(", ".join(parts), file=stream, flush=True)

    last_note, known = "", total

    def advance(count: int = 1, note: str = "", total: int | None = None) -> None:
        nonlocal done, said, last_note, known
        done, last_note, known = done + count, note or last_note, known if total is None else total
        if clock() - said >= LINE_EVERY_S:
            said = clock()
            say(last_note)

    yield advance
    say(last_note)
