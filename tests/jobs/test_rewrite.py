"""`reprise rewrite` in several processes."""

import concurrent.futures
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs import rewrite
from rewrite.decision import Decision
from rewrite.turn import Turn
from tests.jobs.worlds import turn_row, write


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


@pytest.mark.parametrize("alone", [False, True])
def test_alone_means_without_what_was_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    said = ["lights on", "the other one"]
    asked: list[Turn] = []

    @contextmanager
    def decide_nothing(*_: object) -> Iterator[Any]:
        yield lambda chunks: [[Decision(None, None, 0.0, "unsure") for _ in chunk] for chunk in keep(chunks)]

    def keep(chunks: list[list[Turn]]) -> list[list[Turn]]:
        asked.extend(turn for chunk in chunks for turn in chunk)
        return chunks

    monkeypatch.setattr(rewrite, "_mapper", decide_nothing)
    monkeypatch.setattr("rewrite.bundle.check_kind", lambda path: None)
    write(tmp_path / "turns.parquet", [turn_row(n, "u", text, gap_s=20) for n, text in enumerate(said)])
    rewrite.run(tmp_path / "turns.parquet", tmp_path, tmp_path / "d.parquet", alone=alone)
    assert [turn.utterance for turn in asked] == said
    assert asked[1].turns == (() if alone else (said[0],))
    assert (asked[1].gap_s is None) == alone
