"""Open-loop load: when each request is sent is fixed beforehand, whatever becomes of the ones before it."""

import asyncio
import contextlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.bench.serve_mix import Ask

HEAD = b"POST /v1/rewrite HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
PATIENCE_S = 30.0
TOTAL = re.compile(rb'"total":([0-9.]+)')


@dataclass(frozen=True)
class Sent:
    """One request: what was asked, the status (0: no answer), from the moment it was due to its answer, whether the
    model ran, whether it should have run, and how long the service says that it took; None where it does not say.
    """

    ask: Ask
    status: int
    latency_ms: float
    modelled: bool
    lag_ms: float
    shed: bool = False
    service_ms: float | None = None


class Load:
    """Sends to one address over connections that are kept and reused, a new one wherever none is idle."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open_loop(self, asks: Sequence[Ask], rate: float, seed: int) -> list[Sent]:
        """Send at Poisson times of `rate` a second; latencies count from when each request was due."""
        due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, len(asks)))
        began = time.perf_counter() + 0.1
        tasks = []
        for ask, offset in zip(asks, due.tolist(), strict=True):
            await asyncio.sleep(max(0.0, began + offset - time.perf_counter()))
            tasks.append(asyncio.create_task(self._one(ask, began + offset)))
        return list(await asyncio.gather(*tasks))

    async def one_by_one(self, asks: Sequence[Ask]) -> list[Sent]:
        """Send each after the one before it was answered."""
        return [await self._one(ask, time.perf_counter()) for ask in asks]

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _one(self, ask: Ask, due_s: float) -> Sent:
        lag = time.perf_counter() - due_s
        status, body = 0, b""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            async with asyncio.timeout(PATIENCE_S):
                status, body = await self._asked(ask.body)
        latency = (time.perf_counter() - due_s) * 1000
        told = TOTAL.search(body)
        took = None if told is None else float(told[1])
        return Sent(ask, status, latency, b'"model":0.0}' not in body, lag * 1000, b'"shed":true' in body, took)

    async def _asked(self, body: bytes) -> tuple[int, bytes]:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(HEAD % (len(body), body))
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            answer = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head[9:12]), answer


def summary(sent: Sequence[Sent], rate: float) -> dict[str, object]:
    """What one rate came to; latencies are of the requests that were decided, from when they were due.

    `service_p99_ms` counts from when the service had read a request, so that what its sender or a socket held up shows.
    """
    served = [s for s in sent if s.status == 200]
    refused = [s for s in sent if s.status in (429, 503, 504)]
    row: dict[str, object] = {
        "rate": rate,
        "requests": len(sent),
        "served_per_s": round(rate * len(served) / len(sent), 2),
        **_percentiles(served),
        "refused_share": round(len(refused) / len(sent), 4),
        "failed_share": round((len(sent) - len(served) - len(refused)) / len(sent), 4),
        "refused_p99_ms": _percentiles(refused)["p99_ms"],
        "model_share": round(sum(s.modelled for s in served) / max(1, len(served)), 4),
        "shed_share": round(sum(s.shed for s in served) / max(1, len(served)), 4),
        "service_p99_ms": _p99([s.service_ms for s in served if s.service_ms is not None]),
        "sender_lag_p99_ms": round(float(np.percentile([s.lag_ms for s in sent], 99)), 2),
    }
    for kind in sorted({s.ask.kind for s in sent}):
        row[kind] = _percentiles([s for s in served if s.ask.kind == kind])
    return row


def _percentiles(sent: Sequence[Sent]) -> dict[str, float | None]:
    if not sent:
        return {"p50_ms": None, "p99_ms": None}
    latencies = [s.latency_ms for s in sent]
    return {"p50_ms": round(float(np.median(latencies)), 2), "p99_ms": _p99(latencies)}


def _p99(values: Sequence[float]) -> float | None:
    return round(float(np.percentile(values, 99)), 2) if values else None
