"""The two lanes: greedy batches, deadlines, and one bad item that fails alone."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewrite.turn import Turn
from serving.job import CROWDED, FAULT, GONE, LATE, Answer, Drop, Hidden, Job, Load, Loaded
from serving.pace import Pace
from serving.worker import Worker
from tests.serving.fakes import RuleEngine, Rules, service

RULES = Rules(
    "b1",
    {"a": "A", "m": "M", **{f"m{n}": f"M{n}" for n in range(40)}},
    modelled=["m", "poison", *(f"m{n}" for n in range(40))],
    broken=["break"],
)


class Desk:
    """A worker over one engine, and everything it said."""

    def __init__(self, rules: Rules, model_batch: int = 8) -> None:
        self.said: dict[int, Answer] = {}
        self.loaded: list[Loaded] = []
        self._heard = threading.Condition()
        self.engine = RuleEngine(rules)
        self.worker = Worker(self._open, self._say, model_batch)
        self.worker.give(Load("here", Hidden()))
        self._wait(lambda: bool(self.loaded))

    def _open(self, path: str) -> RuleEngine:
        if path != "here":
            raise ValueError("no such path")
        return self.engine

    def _say(self, item: Answer | Loaded) -> None:
        with self._heard:
            if isinstance(item, Answer):
                self.said[item.job_id] = item
            else:
                self.loaded.append(item)
            self._heard.notify_all()

    def _wait(self, until: object) -> None:
        with self._heard:
            assert self._heard.wait_for(until, 20)  # type: ignore[arg-type]

    def ask(self, *texts: str, within_s: float = 20, bundle: str = "b1", first: int = 1) -> list[Answer]:
        """Give all at once, and wait for every answer."""
        deadline = time.monotonic() + within_s
        for number, text in enumerate(texts, first):
            self.worker.give(Job(number, bundle, Turn(text), deadline))
        wanted = range(first, first + len(texts))
        self._wait(lambda: all(n in self.said for n in wanted))
        return [self.said[n] for n in wanted]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk(RULES)
    yield made
    made.worker.give(None)
    made.worker.join()


def test_what_needs_no_model_does_not_wait_for_it(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.5
    began = time.monotonic()
    deadline = began + 20
    desk.worker.give(Job(1, "b1", Turn("m"), deadline))
    desk.worker.give(Job(2, "b1", Turn("a"), deadline))
    desk._wait(lambda: 2 in desk.said)
    assert 1 not in desk.said
    desk._wait(lambda: 1 in desk.said)
    assert (desk.said[1].text, desk.said[1].by_model, desk.said[2].by_model) == ("M", True, False)
    assert desk.said[1].model_ms >= 500


def test_what_is_queued_when_the_model_is_free_shares_a_forward(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.3
    answers = desk.ask("m", *(f"m{n}" for n in range(12)))
    assert [a.text for a in answers] == ["M", *(f"M{n}" for n in range(12))]
    assert max(desk.engine.batches) > 4
    assert max(desk.engine.batches) <= 8
    assert len(desk.engine.batches) < 8


def test_one_bad_item_fails_alone_in_either_lane(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.1
    answers = desk.ask("m0", "m1", "poison", "break", "m2", "a")
    assert [a.failure for a in answers] == [None, None, FAULT, FAULT, None, None]
    assert [a.text for a in answers if a.failure is None] == ["M0", "M1", "M2", "A"]


def test_what_is_late_is_dropped_before_the_model_runs(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.4
    deadline = time.monotonic() + 20
    desk.worker.give(Job(1, "b1", Turn("m"), deadline))
    time.sleep(0.1)
    desk.worker.give(Job(2, "b1", Turn("m1"), time.monotonic() + 0.1))
    desk.worker.give(Job(3, "b1", Turn("a"), time.monotonic() - 1))
    desk._wait(lambda: {1, 2, 3} <= desk.said.keys())
    assert (desk.said[2].failure, desk.said[3].failure) == (LATE, LATE)
    assert desk.engine.batches == [1]


def test_an_overload_is_refused_at_once_and_never_queued_past_the_deadline(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.2
    desk.ask("m")
    began = time.monotonic()
    answers = desk.ask(*(f"m{n}" for n in range(40)), within_s=0.5, first=10)
    assert time.monotonic() - began < 2
    failures = [a.failure for a in answers]
    assert CROWDED in failures
    assert failures.count(None) >= 1


def test_a_bundle_that_is_not_open_fails_its_jobs_and_no_other(desk: Desk) -> None:
    assert desk.ask("a", bundle="other")[0].failure == GONE
    assert desk.ask("a", first=5)[0].text == "A"
    desk.worker.give(Load("elsewhere", Hidden()))
    desk._wait(lambda: len(desk.loaded) == 2)
    assert "no such path" in (desk.loaded[1].error or "")
    desk.worker.give(Drop(frozenset()))
    assert desk.ask("a", first=7)[0].failure == GONE


def test_orders_are_in_force_for_the_jobs_given_after_them(desk: Desk) -> None:
    desk.worker.give(Hidden({}, frozenset({"A"}), 1))
    assert desk.ask("a")[0].text is None


def test_the_pace_follows_what_is_measured() -> None:
    pace = Pace()
    pace.note(1.0, 2)
    assert pace.seconds == 0.5
    for _ in range(50):
        pace.note(0.1, 1)
    assert pace.seconds == pytest.approx(0.1, abs=0.01)


def test_turns_beyond_the_places_are_refused_at_once(tmp_path: Path) -> None:
    rules = Rules("b1", {"m": "M", "a": "A"}, modelled=["m"], model_s=1.0)
    with service(tmp_path, rules, places=3) as running:
        asked = [threading.Thread(target=running.rewrite, args=("m",)) for _ in range(3)]
        for thread in asked:
            thread.start()
        while running.service.pool.waiting < 3:
            time.sleep(0.01)
        began = time.monotonic()
        refused = running.rewrite("a")
        assert time.monotonic() - began < 0.5
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        for thread in asked:
            thread.join()
        assert running.text("a") == "A"


def test_a_queue_that_would_take_too_much_of_the_deadline_is_not_joined(tmp_path: Path) -> None:
    rules = Rules("b1", {"m": "M", "a": "A"}, modelled=["m"], model_s=0.5)
    with service(tmp_path, rules) as running:
        running.text("a")
        running.service.pool._pace.seconds = 0.2  # as if looking at one turn took so long
        asked = [threading.Thread(target=running.rewrite, args=("m",)) for _ in range(2)]
        for thread in asked:
            thread.start()
        while running.service.pool.waiting < 2:
            time.sleep(0.005)
        refused = running.rewrite("a", deadline_ms=400)
        assert (refused.status_code, refused.json()["detail"][:9]) == (429, "the queue")
        assert running.text("a", deadline_ms=5000) == "A"
        for thread in asked:
            thread.join()


def test_a_turn_that_takes_too_long_is_answered_504_in_time(tmp_path: Path) -> None:
    rules = Rules("b1", {"m": "M"}, modelled=["m"], model_s=1.0)
    with service(tmp_path, rules) as running:
        began = time.monotonic()
        found = running.rewrite("m", deadline_ms=100)
        assert (found.status_code, found.json()["status"]) == (504, 504)
        assert time.monotonic() - began < 0.9
        time.sleep(1.0)
        assert running.text("m") == "M"
        records = running.client.get("/metrics").text
        assert 'reprise_refused_total{cause="late"} 1.0' in records
