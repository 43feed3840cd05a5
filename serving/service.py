"""The service behind the routes: decides a turn, records it, and only then answers."""

import asyncio
import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rewrite.turn import Turn
from serving.config import ServeConfig
from serving.exposures import ExposureLog, scrub
from serving.holder import Holder, InForce
from serving.holdout import is_held_out, propensity
from serving.job import CROWDED, FAULT, GONE, Answer, Hidden, Job
from serving.metrics import Metrics
from serving.pool import Pool
from serving.problems import Problem
from serving.tombstones import TombstoneLog
from serving.trial import Trial

SETTLED_S = 5.0
"""Longest that a stop waits for orders to be carried out, seconds."""

REASONS = {
    "holdout": "there is a rewrite, but this user is held out to measure what rewrites do",
    "blocked": "the rewrite was blocked meanwhile",
    "forgotten": "the user was forgotten meanwhile",
    "pinned": "an operator pinned this text to that rewrite",
    "not_recorded": "there is a rewrite, but it could not be recorded, so it is not made",
    "fault": "deciding failed",
}
"""Why a turn is answered as it is, besides `rewrite.decision.REASONS`."""

PATIENCE = 0.5
"""Share of a deadline that may go by before a turn is looked at: more is refused at once."""

SHADOW_ROOM = 0.25
"""Share of the places that may be taken while a challenger still shadows."""

STUCK_S = 10.0
"""A turn in the works for so long means that no progress is made."""


@dataclass(frozen=True)
class Verdict:
    """What to answer for one turn. `found` is the rewrite before holdout and recording had their say."""

    rewrite: str | None
    source: str | None
    confidence: float
    reason: str
    bundle: str
    request_id: str
    found: str | None
    held_out: bool
    answer: Answer
    total_ms: float


class Service:
    """Everything one running service consists of."""

    def __init__(self, config: ServeConfig, pool: Pool, holder: Holder, metrics: Metrics) -> None:
        """Take up the state folder.

        Raises:
            ValueError: its tombstone log is damaged.
        """
        self.config = config
        self.pool = pool
        self.holder = holder
        self.trial = Trial(holder)
        self.metrics = metrics
        self.tombstones = TombstoneLog(config.state)
        self.exposures = ExposureLog(config.state / "exposures", config.rotate_bytes, config.rotate_s, config.fsync_s)
        self.draining = False
        self.started_s = time.time()
        self._began: dict[int, float] = {}
        self._chores: set[asyncio.Task[Any]] = set()
        self._shadows: set[asyncio.Task[Any]] = set()
        self._in_force = self.tombstones.hidden
        pool.hide(self._in_force)

    async def decide(
        self, turn: Turn, request_id: str, deadline_ms: float | None = None, explain: bool = False
    ) -> Verdict:
        """Decide one turn, and record what was decided.

        Raises:
            Problem: no bundle (503), too much to do (429), or no answer in time (504).
        """
        began = time.monotonic()
        deadline = began + min(deadline_ms or self.config.deadline_ms, self.config.max_deadline_ms) / 1000
        self.heed_orders()
        bundle = self.holder.current
        if bundle is None:
            raise self._refusal("no_bundle", "unavailable", self.holder.error or "no bundle is loaded yet")
        if self.pool.waiting >= self.config.places:
            raise self._refusal("full", "overloaded", f"{self.config.places} turns are being decided already")
        if self.pool.wait_s > (deadline - began) * PATIENCE:
            raise self._refusal("queue", "overloaded", "the queue would take too much of the deadline")
        challenger = self.trial.challenger_of(turn)
        if challenger is not None and not self.is_held_out(turn):
            bundle = challenger
        model_by = self._model_by(began, explain)
        answer = await self._answer(Job(self.pool.job_id(), bundle.bundle_id, turn, deadline, explain, model_by))
        verdict = self._judged(turn, bundle, answer, request_id, began)
        verdict = self._recorded(turn, verdict)
        self._count(verdict, time.monotonic() - began)
        self._shadow(turn, request_id)
        return verdict

    def _model_by(self, began: float, explain: bool) -> float:
        """Until when the model may begin with a turn; one that is to be explained waits for it."""
        wait_ms = self.config.model_wait_ms
        return math.inf if explain or not wait_ms else began + wait_ms / 1000

    async def clean_up(self) -> None:
        """Take out what forgotten users left before they were forgotten: a stop may have come before that was done."""
        await asyncio.to_thread(scrub, self.exposures.folder, self.tombstones.forgotten(), self.exposures.current)

    def heed_orders(self) -> None:
        """Put what operators ordered since the last turn in force."""
        try:
            self._heed()
        except (OSError, ValueError) as error:
            # what was ordered is not known any more, so nothing may be rewritten
            raise self._refusal("orders", "unavailable", "the tombstone log cannot be read") from error

    def _heed(self) -> None:
        if self.tombstones.refresh():
            self._in_background(self._apply_orders(self.tombstones.hidden))

    async def forget(self, user_id: str) -> int:
        """Forget a user at once, and take their exposures off the disk; returns the order's epoch.

        Raises:
            OSError: the order could not be forced to disk; nothing has changed.
        """
        epoch = self.tombstones.forget(user_id)
        await self._apply_orders(self.tombstones.hidden)
        return epoch

    async def block(self, text: str, blocked: bool) -> int:
        """Block a text at once, or lift its block; returns the order's epoch.

        Raises:
            OSError: the order could not be forced to disk; nothing has changed. ValueError: there is no text.
        """
        epoch = self.tombstones.block(text, blocked)
        await self._apply_orders(self.tombstones.hidden)
        return epoch

    async def pin(self, source: str, target: str | None) -> int:
        """Always rewrite a text to another from now on, or, with None, decide it again; returns the order's epoch.

        Raises:
            OSError: the order could not be forced to disk; nothing has changed. ValueError: no such pair can be.
        """
        epoch = self.tombstones.pin(source, target)
        await self._apply_orders(self.tombstones.hidden)
        return epoch

    def feedback(self, record: Mapping[str, Any]) -> bool:
        """Record what became of a turn; False where it cannot be kept."""
        kept = self.exposures.append({"kind": "feedback", "at": _now(), **record})
        self._note_exposure(kept)
        self.metrics.feedback.inc()
        return kept

    def state(self) -> dict[str, Any]:
        """What makes the service ready or not, each by itself."""
        oldest = min(self._began.values(), default=time.monotonic())
        return {
            "loaded": self.holder.current is not None,
            "workers": self.pool.seats_ready > 0,
            "progress": time.monotonic() - oldest < STUCK_S,
            "accepting": not self.draining,
        }

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        ready = all(self.state().values())
        self.metrics.ready.set(ready)
        return ready

    async def chores(self) -> None:
        """Until cancelled: follow the registry, force exposures to disk, look after gauges."""
        synced = looked = time.monotonic()
        while True:
            await asyncio.sleep(min(self.config.watch_s, self.config.fsync_s or self.config.watch_s))
            now = time.monotonic()
            if self.config.fsync_s and now - synced >= self.config.fsync_s:
                await asyncio.to_thread(self.exposures.sync)
                synced = now
            if now - looked >= self.config.watch_s:
                with suppress(OSError, ValueError):  # the next turn says so
                    self._heed()
                self._follow_in_background()
                looked = now
            self.metrics.worker_deaths.set(self.pool.deaths)
            self.metrics.workers_ready.set(self.pool.seats_ready)
            self.metrics.exposure_failing.set(self.exposures.failing is not None)

    async def settled(self) -> None:
        """Wait, though not for long, for what is under way in the background."""
        if self._chores:
            await asyncio.wait(self._chores, timeout=SETTLED_S)

    def _follow_in_background(self) -> None:
        if not self._chores:
            self._in_background(self._follow())

    async def _follow(self) -> None:
        try:
            if await self.holder.follow():
                self.swapped()
            await self.trial.follow()
        except (OSError, ValueError):
            return  # an alias half written or a registry out of reach: the bundle in force stays

    def swapped(self) -> None:
        """Note that another bundle is in force."""
        if self.holder.current is not None:
            self.metrics.now_in_force(self.holder.current.bundle_id, self.holder.current.since)

    async def _answer(self, job: Job) -> Answer:
        self._began[job.job_id] = time.monotonic()
        self.metrics.in_flight.set(len(self._began))
        try:
            remaining = job.deadline_s - time.monotonic()
            answer = await asyncio.wait_for(self.pool.submit(job), max(0.0, remaining))
        except TimeoutError:
            raise self._refusal("late", "late", "the deadline passed before an answer was found") from None
        finally:
            self._began.pop(job.job_id, None)
            self.metrics.in_flight.set(len(self._began))
        if answer.failure == CROWDED:
            raise self._refusal("crowded", "overloaded", "too many turns wait for the model")
        if answer.failure == GONE:
            raise self._refusal("gone", "unavailable", "the worker that was to decide is gone")
        if answer.failure not in (None, FAULT):
            raise self._refusal("late", "late", "the deadline passed before an answer was found")
        return answer

    def _judged(self, turn: Turn, bundle: InForce, answer: Answer, request_id: str, began: float) -> Verdict:
        """The answer, as far as orders and the holdout let it through."""
        text, source, reason = answer.text, answer.source, answer.reason
        if answer.failure is not None:
            self.metrics.faults.inc()
            text, source, reason = None, None, "fault"
        hidden = self.tombstones.hidden
        if text is not None and text in hidden.blocked:
            text, source, reason = None, None, "blocked"
        if source == "personal" and hidden.users.get(turn.user_id or "", 0) > bundle.epoch:
            text, source, reason = None, None, "forgotten"
        held = self.is_held_out(turn)
        if text is not None and held:
            reason = "holdout"
        return Verdict(
            rewrite=None if held else text,
            source=None if held else source,
            confidence=answer.confidence,
            reason=reason,
            bundle=bundle.bundle_id,
            request_id=request_id,
            found=text,
            held_out=held,
            answer=replace(answer, text=text, source=source),
            total_ms=(time.monotonic() - began) * 1000,
        )

    def is_held_out(self, turn: Turn) -> bool:
        """Whether this turn's user is held out; turns without a user, by the text that they ask for."""
        return is_held_out(turn, self.config.holdout_share, self.config.holdout_salt)

    def _recorded(self, turn: Turn, verdict: Verdict) -> Verdict:
        """The verdict, once it is on record; where it cannot be, without its rewrite."""
        kept = self.exposures.append(self._record(turn, verdict))
        self._note_exposure(kept)
        if kept or verdict.rewrite is None:
            return verdict
        return replace(verdict, rewrite=None, source=None, reason="not_recorded")

    def _record(self, turn: Turn, verdict: Verdict) -> dict[str, Any]:
        share = self.config.holdout_share
        return {
            "kind": "decision",
            "at": _now(),
            "request_id": verdict.request_id,
            "interaction_id": turn.interaction_id,
            "user_id": turn.user_id,
            "utterance": turn.utterance,
            "reason": verdict.reason,
            "confidence": round(verdict.confidence, 6),
            "shed": verdict.answer.shed,
            "rewrite": {
                "text": verdict.found,
                "source": verdict.answer.source,
                "bundle": verdict.bundle,
                "propensity": propensity(verdict.found is not None, verdict.held_out, share),
                "holdout": verdict.held_out,
            },
        }

    def _shadow(self, turn: Turn, request_id: str) -> None:
        """Let a challenger that shadows decide too, where there is time for it; only the record tells."""
        challenger = self.trial.shadow
        if challenger is None or self.pool.waiting > self.config.places * SHADOW_ROOM:
            return
        self._in_background(self._shadowed(turn, request_id, challenger), self._shadows)

    async def _shadowed(self, turn: Turn, request_id: str, challenger: InForce) -> None:
        deadline = time.monotonic() + self.config.max_deadline_ms / 1000
        answer = await self.pool.submit(Job(self.pool.job_id(), challenger.bundle_id, turn, deadline))
        if answer.failure is not None or self._hides(turn, challenger, answer):
            return
        found = {"text": answer.text, "source": answer.source, "bundle": challenger.bundle_id, "reason": answer.reason}
        about = {"request_id": request_id, "interaction_id": turn.interaction_id, "user_id": turn.user_id}
        kept = self.exposures.append({"kind": "shadow", "at": _now(), **about, "decision": found})
        self._note_exposure(kept)

    def _hides(self, turn: Turn, bundle: InForce, answer: Answer) -> bool:
        """Whether the user was forgotten since the bundle was built, or the text is blocked."""
        hidden = self.tombstones.hidden
        return answer.text in hidden.blocked or hidden.users.get(turn.user_id or "", 0) > bundle.epoch

    def _note_exposure(self, kept: bool) -> None:
        self.metrics.exposures.labels("kept" if kept else "lost").inc()
        self.metrics.exposure_failing.set(not kept)

    def _count(self, verdict: Verdict, seconds: float) -> None:
        self.metrics.decisions.labels(verdict.reason, verdict.source or "none").inc()
        self.metrics.decision_seconds.labels("yes" if verdict.answer.by_model else "no").observe(seconds)
        if verdict.answer.shed:
            self.metrics.shed.inc()
        if verdict.reason == "holdout":
            self.metrics.held_out.inc()

    def _refusal(self, cause: str, kind: str, detail: str) -> Problem:
        self.metrics.refused.labels(cause).inc()
        return Problem(kind, detail, {"Retry-After": "1"} if kind in ("overloaded", "unavailable") else None)

    def _apply_orders(self, hidden: Hidden) -> Awaitable[None]:
        """In force when this returns; what it returns is done when the disk is clean, too."""
        before, self._in_force = self._in_force, hidden
        self.pool.hide(hidden)
        self.metrics.orders.labels("forget").set(len(hidden.users))
        self.metrics.orders.labels("block").set(len(hidden.blocked))
        self.metrics.orders.labels("pin").set(len(hidden.pinned))
        return self._scrub([user for user, at in hidden.users.items() if at > before.epoch])

    async def _scrub(self, users: Sequence[str]) -> None:
        if users:
            self.exposures.rotate()
            await asyncio.to_thread(scrub, self.exposures.folder, users, self.exposures.current)

    def _in_background(self, work: Awaitable[None], kept: set[asyncio.Task[Any]] | None = None) -> None:
        tasks = self._chores if kept is None else kept
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
