"""The outermost layer: request ids, limits on what comes in, problems for whatever goes wrong, metrics and logs."""

import asyncio
import contextlib
import re
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

from serving.metrics import Metrics
from serving.problems import Problem, response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

request_id: ContextVar[str] = ContextVar("request_id", default="-")

_PLAIN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LOCAL_HOST = re.compile(rb"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: App,
        metrics: Metrics,
        max_body_bytes: int,
        body_timeout_s: float,
        local_hosts_only: bool = False,
        is_closing: Callable[[], bool] = bool,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s
        self._local_hosts_only = local_hosts_only
        self._is_closing = is_closing
        self._log = structlog.get_logger("serve")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        asked = headers.get(b"x-request-id", b"")
        own = asked.decode() if _PLAIN_ID.fullmatch(asked) else uuid.uuid4().hex
        token = request_id.set(own)
        try:
            await self._handle(scope, headers, receive, send, own)
        finally:
            request_id.reset(token)

    async def _handle(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send, own: str) -> None:
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", own.encode()), (b"x-content-type-options", b"nosniff")]
                if self._is_closing():
                    extra.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        try:
            self._check(headers)
            await self._app(scope, self._limited(receive), sending)
        except Problem as problem:
            if not status:
                await _discard(receive, problem)
                await response(problem, own)(scope, receive, sending)
        except Exception as error:
            self._fault(error, own)
            if not status:
                await response(Problem("unavailable", "an error of ours"), own)(scope, receive, sending)
        finally:
            self._note(scope, status, time.perf_counter() - began, own)

    def _check(self, headers: dict[bytes, bytes]) -> None:
        if self._local_hosts_only and not _LOCAL_HOST.fullmatch(headers.get(b"host", b"localhost")):
            # a page from elsewhere that resolves its own name to this machine
            raise Problem("bad-request", "the Host header names another machine; without keys only this one is served")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        """`receive` with the limits on size and time of the body."""
        received, ended = 0, False
        until = asyncio.get_running_loop().time() + self._body_timeout_s

        async def limited() -> Message:
            nonlocal received, ended
            if ended:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise Problem("timeout", "the body did not arrive in time", {"Connection": "close"}) from None
            received += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if received > self._max_body_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> Problem:
        return Problem("too-large", f"the body may hold {self._max_body_bytes} bytes", {"Connection": "close"})

    def _fault(self, error: Exception, own: str) -> None:
        self._metrics.faults.inc()
        # only where it happened: a message may hold what a user said
        frames = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-6:]]
        self._log.error("fault", request_id=own, error=type(error).__name__, frames=frames)

    def _note(self, scope: Scope, status: int, seconds: float, own: str) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        with contextlib.suppress(ValueError, OSError):  # nobody may be left to read the log
            self._metrics.requests.labels(method, route, str(status or "gone")).inc()
            self._metrics.request_seconds.labels(route).observe(seconds)
            self._log.info(
                "request", request_id=own, method=method, route=route, status=status, ms=round(seconds * 1000, 2)
            )


async def _discard(receive: Receive, problem: Problem) -> None:
    """Take in the rest of a body that is too large: closed upon, its sender would not see the answer."""
    if problem.kind != "too-large":
        return
    left = DISCARDED_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARDING_S):
            while left > 0 and (message := await receive()).get("more_body", False):
                left -= len(message.get("body", b""))


DISCARDED_BYTES = 16 * 2**20
DISCARDING_S = 2.0
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS")
