"""Progress: lines where nobody watches, a bar on a terminal, silence on stdout."""

import io

import pytest

from jobs import progress as module
from jobs.progress import progress, teller, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_there_is_one_line_at_the_end() -> None:
    stream = io.StringIO()
    with progress("train", 10, stream) as advance:
        for _ in range(10):
            advance(note="loss 0.5")
    assert stream.getvalue().splitlines() == ["train: 10 of 10 (100%), 0 s, loss 0.5"]


def test_long_work_says_something_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.0)
    stream = io.StringIO()
    with progress("train", 3, stream) as advance:
        advance()
        advance(2)
    assert [line.split(" (")[0] for line in stream.getvalue().splitlines()] == [f"train: {n} of 3" for n in (1, 3, 3)]


def test_what_is_under_way_is_said_with_the_seconds_since_the_beginning() -> None:
    stream, times = io.StringIO(), iter([100.0, 100.04, 141.0])
    say = teller(stream, lambda: next(times))
    say("mine: begins")
    say("mine: done in 41 s")
    assert stream.getvalue().splitlines() == ["   0.0 s  mine: begins", "  41.0 s  mine: done in 41 s"]


def test_an_unknown_total_is_left_out() -> None:
    stream = io.StringIO()
    with progress("scan", None, stream) as advance:
        advance(5)
    assert stream.getvalue() == "scan: 5, 0 s\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_total_may_be_known_late(stream: io.StringIO) -> None:
    with progress("fit: turns rescored", None, stream) as advance:
        advance(total=1200)
    said = stream.getvalue()
    assert "1/1200" in said if stream.isatty() else said == "fit: turns rescored: 1 of 1200 (0%), 0 s\n"


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with progress("train", 4, stream) as advance:
        advance(4, note="done")
    assert "4/4" in stream.getvalue()


def test_tracking_yields_every_item_and_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track([1, 2, 3], "count")) == [1, 2, 3]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("count: 3 of 3")
