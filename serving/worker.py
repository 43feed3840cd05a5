"""Decides jobs in two lanes: a cheap one for what needs no model, and one that runs the model for many at once.

Both drain greedily: what is queued when a lane frees up is taken together, and nothing waits for a batch to fill.
"""

import gc
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from serving.job import CROWDED, FAULT, GONE, LATE, Answer, Drop, Hidden, Job, Load, Loaded
from serving.pace import Pace
from serving.sweeping import Sweeper, settle

if TYPE_CHECKING:
    from serving.engine import Engine

Opener = Callable[[str], "Engine"]
"""Verifies and opens the bundle at a path; raises ValueError or OSError where it cannot be used."""

IDLE_S = 0.5
"""How often a lane with nothing to do looks for work ahead of need."""

QUIET_S = 0.5
"""Time without a job after which there is time for such work: before, it would only be in the next one's way."""


class Inbox(Protocol):
    """Where jobs and orders come from."""

    def get(self) -> Any:
        """The next item, as soon as there is one; None at the end."""


@dataclass(eq=False)
class Waiting:
    """A job on its way through the lanes."""

    job: Job
    engine: "Engine"
    memo: Any
    begun_s: float
    needs: Any = None
    model_s: float = 0.0
    asked: bool = False


class Worker:
    """Two threads over the bundles that are open. Orders and jobs come through one queue, in order."""

    def __init__(
        self,
        open_bundle: Opener,
        say: Callable[[Answer | Loaded], None],
        model_batch: int = 8,
        inbox: Inbox | None = None,
        sweeper: Sweeper | None = None,
    ) -> None:
        """Begin to work.

        Args:
            inbox: where items come from instead of `give`. sweeper: of this process, where it is the worker's own.
        """
        self._sweeper = sweeper
        self._open = open_bundle
        self._say = say
        self._model_batch = model_batch
        self._engines: dict[str, Engine] = {}
        self._changing = threading.Lock()
        self._hidden = Hidden()
        self._given: SimpleQueue[Any] = SimpleQueue()
        self._inbox: Inbox = self._given if inbox is None else inbox
        self._model_inbox: SimpleQueue[Waiting | None] = SimpleQueue()
        self._loads: SimpleQueue[Load | None] = SimpleQueue()
        self._pace = Pace()
        self._in_hand = 0
        self._last_job_s = -math.inf
        self._threads = [
            threading.Thread(target=lane, name=name, daemon=True)
            for name, lane in (("cheap", self._cheap_lane), ("model", self._model_lane), ("load", self._load_lane))
        ]
        for thread in self._threads:
            thread.start()

    def give(self, item: Any) -> None:
        """Put a Job, Load, Drop or Hidden in; answers come through `say`, from any thread. None ends the worker."""
        self._given.put(item)

    def join(self) -> None:
        """Wait until everything that came before None is done."""
        for thread in self._threads:
            thread.join()

    def _cheap_lane(self) -> None:
        while True:
            item = self._inbox.get()
            if item is None:
                self._model_inbox.put(None)
                self._loads.put(None)
                return
            if isinstance(item, Job):
                self._consider(item)
                if self._sweeper is not None:
                    self._sweeper.turn_done()
            elif isinstance(item, Load):
                self._loads.put(item)
            elif isinstance(item, Hidden):
                self._hide(item)
            elif isinstance(item, Drop):
                self._drop(item)

    def _drop(self, drop: Drop) -> None:
        with self._changing:  # a load may end at this very moment
            kept = {name: engine for name, engine in self._engines.items() if name in drop.keep}
            closes, self._engines = len(kept) < len(self._engines), kept
        if closes:  # giving memory back takes a quarter of a second, in which the first turn after a load would wait
            release_memory(gc.collect if self._sweeper is None else settle)

    def _hide(self, hidden: Hidden) -> None:
        self._hidden = hidden
        for engine in list(self._engines.values()):
            engine.hide(hidden)

    def _consider(self, job: Job) -> None:
        now = self._last_job_s = time.monotonic()
        engine = self._engines.get(job.bundle_id)
        if engine is None:
            return self._fail(job, GONE)
        if now > job.deadline_s:
            return self._fail(job, LATE)
        waiting = Waiting(job, engine, engine.memo(), now)
        if self._attempt(waiting):
            self._queue_for_model(waiting)
        return None

    def _queue_for_model(self, waiting: Waiting) -> None:
        """Decided without the model where the wait for it is too long, or, where that cannot be, refused at once.

        One that finds nothing ahead of it does not go by the pace: it may be that of an hour ago.
        """
        ahead = self._model_inbox.qsize() + self._in_hand
        begins_s = time.monotonic() + ahead * self._pace.seconds
        outlasts = ahead > 0 and begins_s + self._pace.seconds > waiting.job.deadline_s
        if (outlasts or begins_s > waiting.job.model_by_s) and self._shed(waiting):
            return
        if outlasts:
            self._fail(waiting.job, CROWDED)
        else:
            waiting.asked = True
            self._model_inbox.put(waiting)

    def _shed(self, waiting: Waiting) -> bool:
        """Answer by the cheap trees; False where this job, or its bundle, is not to be decided so."""
        if math.isinf(waiting.job.model_by_s):
            return False
        try:
            found = waiting.engine.unasked(waiting.job, waiting.memo)
        except Exception:
            self._fail(waiting.job, FAULT)
            return True
        if found is not None:
            self._say(replace(found, shed=True, took_ms=_ms_since(waiting.begun_s)))
        return found is not None

    def _attempt(self, waiting: Waiting) -> bool:
        """Answer, or return True where the model is needed first. A job that fails, fails alone."""
        try:
            found = waiting.engine.attempt(waiting.job, waiting.memo)
        except Exception:
            self._fail(waiting.job, FAULT)
            return False
        if isinstance(found, Answer):
            took_ms = _ms_since(waiting.begun_s)
            self._say(replace(found, by_model=waiting.asked, took_ms=took_ms, model_ms=waiting.model_s * 1000))
            return False
        waiting.needs = found
        return True

    def _model_lane(self) -> None:
        while True:
            batch = self._batch()
            if batch is None:
                return
            batch = [w for w in batch if not self._outwaited(w)]
            if not batch:
                continue
            self._in_hand, started = len(batch), time.monotonic()
            while batch:
                batch = [w for w in batch if not self._late(w)]
                by_engine: dict[int, list[Waiting]] = {}
                for waiting in batch:
                    by_engine.setdefault(id(waiting.engine), []).append(waiting)
                batch = [w for same in by_engine.values() for w in self._computed(same) if self._attempt(w)]
            self._pace.note(time.monotonic() - started, self._in_hand)
            self._in_hand = 0

    def _batch(self) -> list[Waiting] | None:
        """What is queued, at least one; works ahead while nothing is. None at the end."""
        first = self._next_or_idle()
        if first is None:
            return None
        batch = [first]
        while len(batch) < self._model_batch:
            try:
                more = self._model_inbox.get_nowait()
            except Empty:
                break
            if more is None:
                self._model_inbox.put(None)
                break
            batch.append(more)
        return batch

    def _next_or_idle(self) -> Waiting | None:
        while True:
            try:
                return self._model_inbox.get_nowait()
            except Empty:
                pass
            if not self._worked_ahead():
                try:
                    return self._model_inbox.get(timeout=IDLE_S)
                except Empty:
                    continue

    def _worked_ahead(self) -> bool:
        if time.monotonic() - self._last_job_s < QUIET_S:
            return False
        busy = False
        for engine in list(self._engines.values()):
            busy = _quietly(engine) or busy
        return busy

    def _computed(self, batch: list[Waiting]) -> list[Waiting]:
        """Those of the batch whose needs are met. Where the batch fails, each is tried alone."""
        started = time.monotonic()
        done = list(_met(batch)) if len(batch) == 1 else _met_together(batch)
        took = time.monotonic() - started
        for waiting in batch:
            waiting.model_s += took
            if waiting not in done:
                self._fail(waiting.job, FAULT)
        return done

    def _outwaited(self, waiting: Waiting) -> bool:
        """Whether it waited for the model for so long that it was decided without."""
        return time.monotonic() > waiting.job.model_by_s and self._shed(waiting)

    def _late(self, waiting: Waiting) -> bool:
        if time.monotonic() <= waiting.job.deadline_s:
            return False
        self._fail(waiting.job, LATE)
        return True

    def _fail(self, job: Job, failure: str) -> None:
        self._say(Answer(job.job_id, failure=failure))

    def _load_lane(self) -> None:
        """Opens bundles beside those in use, in one thread, so that memory is taken from and given to one arena."""
        while (load := self._loads.get()) is not None:
            self._say(self._loaded(load))

    def _loaded(self, load: Load) -> Loaded:
        try:
            engine = self._open(load.path)
            engine.hide(load.hidden)
            engine.warm()
        except Exception as error:  # whatever is wrong with a bundle, the one in force stays
            return Loaded(load.path, error=f"{type(error).__name__}: {error}")
        if self._sweeper is not None and not self._engines:  # nobody waits yet
            settle()
        with self._changing:
            self._engines = {**self._engines, engine.bundle_id: engine}
        if self._hidden.epoch > load.hidden.epoch:  # an order came while it was being opened
            engine.hide(self._hidden)
        return Loaded(load.path, engine.bundle_id, engine.facts)


def _met(batch: list[Waiting]) -> Iterator[Waiting]:
    for waiting in batch:
        try:
            waiting.engine.compute([(waiting.memo, waiting.needs)])
        except Exception:
            continue
        yield waiting


def _met_together(batch: list[Waiting]) -> list[Waiting]:
    try:
        batch[0].engine.compute([(w.memo, w.needs) for w in batch])
    except Exception:
        return list(_met(batch))
    return batch


def _ms_since(began_s: float) -> float:
    return (time.monotonic() - began_s) * 1000


def _quietly(engine: "Engine") -> bool:
    """Work ahead; what fails then, will fail in its own time."""
    try:
        return engine.idle()
    except Exception:
        return True


def release_memory(collect: Callable[[], object]) -> None:
    """Give memory of closed bundles back to the system, where the C library can."""
    import ctypes

    collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
