"""All workers as the service sees them: jobs out, answers in, a dead worker replaced."""

import asyncio
from collections.abc import Callable
from typing import Any

from serving.job import GONE, Answer, Drop, Hidden, Job, Load, Loaded
from serving.pace import Pace
from serving.seats import Hear, Seat


class Pool:
    """All workers: a job goes to the one with the fewest; bundles and orders go to every one."""

    def __init__(self, seats: int, make_seat: Callable[[Hear, Callable[[Any], None]], Seat]) -> None:
        self._make = make_seat
        self._count = max(1, seats)
        self._seats: list[Seat] = []
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._opening: dict[tuple[int, str], asyncio.Future[Loaded]] = {}
        self._paths: dict[str, str] = {}
        self._hidden = Hidden()
        self._pace = Pace()
        self._next_id = 0
        self._stopping = False
        self._ready: set[int] = set()
        self._refilling: set[asyncio.Task[None]] = set()
        self.deaths = 0

    async def start(self) -> None:
        """Begin with all seats taken; no bundle is open yet."""
        self._seats = [self._make(self._hear, self._gone) for _ in range(self._count)]
        self._ready = {id(seat) for seat in self._seats}

    async def stop(self) -> None:
        """End every worker once it has answered."""
        self._stopping = True
        await asyncio.gather(*(seat.stop() for seat in self._seats))

    @property
    def waiting(self) -> int:
        """Jobs given and not answered."""
        return len(self._answers)

    @property
    def wait_s(self) -> float:
        """How long a job given now would wait before it is looked at, from how long looking at one takes."""
        return min((len(seat.jobs) for seat in self._seats), default=0) * self._pace.seconds

    @property
    def seats_ready(self) -> int:
        """Workers that hold every bundle in use."""
        return sum(seat.alive() and id(seat) in self._ready for seat in self._seats)

    def submit(self, job: Job) -> "asyncio.Future[Answer]":
        """Give a job to the least busy worker; the answer comes in the future, also where it is a failure."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        seats = [seat for seat in self._seats if seat.alive() and id(seat) in self._ready]
        if not seats:
            future.set_result(Answer(job.job_id, failure=GONE))
            return future
        seat = min(seats, key=lambda s: len(s.jobs))
        self._answers[job.job_id] = future
        seat.jobs.add(job.job_id)
        seat.give(job)
        return future

    def job_id(self) -> int:
        """A number no other job has."""
        self._next_id += 1
        return self._next_id

    async def open(self, path: str) -> Loaded:
        """Open a bundle in every worker; the first failure is the outcome."""
        loads = [self._open_in(seat, path) for seat in self._seats if seat.alive()]
        outcomes = await asyncio.gather(*loads)
        failed = [o for o in outcomes if o.error is not None]
        if failed or not outcomes:
            return failed[0] if failed else Loaded(path, error="no worker is alive")
        assert outcomes[0].bundle_id is not None
        self._paths[outcomes[0].bundle_id] = path
        return outcomes[0]

    def keep(self, bundles: frozenset[str]) -> None:
        """Close every other bundle."""
        self._paths = {name: path for name, path in self._paths.items() if name in bundles}
        for seat in self._seats:
            seat.give(Drop(bundles))

    def hide(self, hidden: Hidden) -> None:
        """Forgotten users and blocked texts: in force for every job submitted from now on."""
        self._hidden = hidden
        for seat in self._seats:
            seat.give(hidden)

    async def _open_in(self, seat: Seat, path: str) -> Loaded:
        key = (id(seat), path)
        if key not in self._opening:
            self._opening[key] = asyncio.get_running_loop().create_future()
            seat.give(Load(path, self._hidden))
        return await self._opening[key]

    def _hear(self, seat: Seat, item: Any) -> None:
        if isinstance(item, Answer):
            seat.jobs.discard(item.job_id)
            if item.failure is None and not (item.by_model or item.shed):
                self._pace.note(item.took_ms / 1000, 1)
            future = self._answers.pop(item.job_id, None)
            if future is not None and not future.done():
                future.set_result(item)
        elif isinstance(item, Loaded):
            opening = self._opening.pop((id(seat), item.path), None)
            if opening is not None and not opening.done():
                opening.set_result(item)

    def _gone(self, seat: Any) -> None:
        """A worker died: what it held is answered as a failure, and another takes its seat."""
        if self._stopping:
            return
        self.deaths += 1
        self._ready.discard(id(seat))
        for job_id in list(seat.jobs):
            self._hear(seat, Answer(job_id, failure=GONE))
        for key in [key for key in self._opening if key[0] == id(seat)]:
            self._opening.pop(key).set_result(Loaded(key[1], error="the worker died while opening it"))
        task = asyncio.get_running_loop().create_task(self._refill(seat))
        self._refilling.add(task)
        task.add_done_callback(self._refilling.discard)

    async def _refill(self, dead: Any) -> None:
        # a worker that dies at once must not take the machine with it
        await asyncio.sleep(min(10.0, 0.2 * 2 ** min(self.deaths, 6)))
        if self._stopping:
            return
        seat = self._make(self._hear, self._gone)
        self._seats[self._seats.index(dead)] = seat
        outcomes = await asyncio.gather(*(self._open_in(seat, path) for path in self._paths.values()))
        if all(o.error is None for o in outcomes):
            self._ready.add(id(seat))
