"""The two lanes: greedy batches, deadlines, and one bad item that fails alone."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rewrite.turn import Turn
from serving.config import ServeConfig
from serving.exposures import read_records
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

    def ask(
        self, *texts: str, within_s: float = 20, bundle: str = "b1", first: int = 1, model_within_s: float = math.inf
    ) -> list[Answer]:
        """Give all at once, and wait for every answer."""
        now = time.monotonic()
        for number, text in enumerate(texts, first):
            self.worker.give(Job(number, bundle, Turn(text), now + within_s, False, now + model_within_s))
        wanted = range(first, first + len(texts))
        self._wait(lambda: all(n in self.said for n in wanted))
        return [self.said[n] for n in wanted]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk(replace(RULES))  # tests change them
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


def test_what_would_wait_too_long_for_the_model_is_decided_without_it_at_once(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.2
    desk.ask("m")
    began = time.monotonic()
    answers = desk.ask(*(f"m{n}" for n in range(40)), first=10, model_within_s=0.25)
    assert time.monotonic() - began < 1
    shed = [a for a in answers if a.shed]
    assert {a.failure for a in answers} == {None}
    assert sum(a.took_ms < 100 for a in shed) > 20
    assert {(a.by_model, a.model_ms, a.text, a.reason) for a in shed} == {(False, 0.0, None, "unsure")}
    assert 0 < len([a for a in answers if a.by_model]) < 30
    assert len(shed) + len([a for a in answers if a.by_model]) == 40
    assert desk.ask("m1", first=100, model_within_s=0.25)[0].text == "M1"  # no trace of it is left


def test_what_waited_too_long_after_all_is_decided_without_the_model(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.4  # the pace is not known yet
    now = time.monotonic()
    desk.worker.give(Job(1, "b1", Turn("m"), now + 20))
    time.sleep(0.1)
    desk.worker.give(Job(2, "b1", Turn("m1"), now + 20, False, now + 0.2))
    desk.worker.give(Job(3, "b1", Turn("m2"), now + 20))
    desk._wait(lambda: {1, 2, 3} <= desk.said.keys())
    assert [(desk.said[n].shed, desk.said[n].by_model) for n in (1, 2, 3)] == [
        (False, True),
        (True, False),
        (False, True),
    ]


def test_without_an_answer_of_the_cheap_trees_the_model_is_waited_for(desk: Desk) -> None:
    desk.engine.rules.model_s = 0.2
    desk.engine.rules.can_do_without = False
    answers = desk.ask("m", *(f"m{n}" for n in range(12)), model_within_s=0.0)
    assert all(a.by_model and not a.shed for a in answers)


def test_one_that_cannot_be_decided_without_the_model_fails_alone(desk: Desk) -> None:
    answers = desk.ask("m0", "poison", "m1", model_within_s=-1.0)
    assert [(a.failure, a.shed) for a in answers] == [(None, True), (FAULT, False), (None, True)]


def test_a_lane_that_was_slow_once_is_tried_again(desk: Desk) -> None:
    desk.worker._pace.seconds = 100.0  # as after a stall
    assert desk.ask("m", within_s=5, model_within_s=5)[0].by_model
    assert desk.worker._pace.seconds < 100
    assert desk.ask("m1", first=5, within_s=5)[0].by_model


def test_nothing_is_done_ahead_of_need_while_jobs_come(desk: Desk) -> None:
    ahead: list[float] = []

    def idle() -> bool:
        ahead.append(time.monotonic())
        time.sleep(0.001)
        return True

    desk.engine.idle = idle  # type: ignore[method-assign]
    began = time.monotonic()
    for number in range(100):
        desk.ask("a", first=100 + number)
        time.sleep(0.01)
    during = [at for at in ahead if began + 0.05 < at]
    assert len(during) < 50
    until = time.monotonic() + 20
    while len(ahead) <= len(during) + 50 and time.monotonic() < until:
        time.sleep(0.05)
    assert len([at for at in ahead if began + 0.05 < at]) > len(during) + 50


def test_a_bundle_that_is_not_open_fails_its_jobs_and_no_other(desk: Desk) -> None:
    assert desk.ask("a", bundle="other")[0].failure == GONE
    assert desk.ask("a", first=5)[0].text == "A"
    desk.worker.give(Load("elsewhere", Hidden()))
    desk._wait(lambda: len(desk.loaded) == 2)
    assert "no such path" in (desk.loaded[1].error or "")
    desk.worker.give(Drop(frozenset()))
    assert desk.ask("a", first=7)[0].failure == GONE


def test_memory_is_given_back_only_where_a_bundle_is_closed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a quarter of a second: after the first load, nothing is closed, and the first turn does not wait."""
    released: list[object] = []
    monkeypatch.setattr("serving.worker.release_memory", released.append)
    desk.worker.give(Drop(frozenset({"b1"})))
    assert desk.ask("a")[0].text == "A"
    assert not released
    desk.worker.give(Drop(frozenset()))
    assert desk.ask("a", first=2)[0].failure == GONE
    assert len(released) == 1


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


def test_under_load_answers_say_that_they_were_given_without_the_model(tmp_path: Path) -> None:
    rules = Rules("b1", {"m": "M"}, modelled=["m"], model_s=1.0)
    with service(tmp_path, rules, model_wait_ms=50.0) as running:
        first = threading.Thread(target=running.rewrite, args=("m",))
        (seat,) = running.service.pool._seats
        seat._worker._pace.seconds = 1.0
        first.start()
        time.sleep(0.2)
        found = running.rewrite("m", "ann", interaction_id="i1").json()  # it is not in force with this user's texts
        assert (found["rewrite"], found["reason"], found["shed"], found["timings_ms"]["model"]) == (
            None,
            "unsure",
            True,
            0.0,
        )
        explained = running.rewrite("m", explain=True).json()  # waits for what it is to explain
        first.join()
        assert (explained["rewrite"], explained["shed"]) == ("M", False)
        assert "reprise_shed_total 1.0" in running.client.get("/metrics").text
        (record,) = [r for r in read_records(running.config.state / "exposures") if r["interaction_id"] == "i1"]
        assert record["shed"]
        assert (record["rewrite"]["bundle"], record["rewrite"]["propensity"]) == ("b1", 1.0)
        running.service.pool._pace.seconds = 0.0
        assert running.rewrite("m").json()["shed"] is False


def test_a_wait_below_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wait for the model"):
        ServeConfig(bundle=tmp_path, model_wait_ms=-1.0)
