"""The runs of `reprise bench serve`: start a service, warm it, load it at each rate, and stop it."""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs.bench.cpu_time import cpu_s, stolen_s
from jobs.bench.serve_load import Load, summary
from jobs.bench.serve_mix import Asker, Mix

HEADER = "system     rate  served/s   p50 ms   p99 ms  refused  model   shed  cpu ms  stolen"
STARTING_S = 180.0


@dataclass(frozen=True)
class Settings:
    """What to run; `service` are fields of `ServeConfig`, `mix` the shares of look-up, personal and global."""

    bundle: Path
    rates: Sequence[float]
    reference_rates: Sequence[float]
    seconds: float
    mix: Sequence[float]
    fresh: float
    seed: int
    service: dict[str, Any]


def rows(wanted: Settings) -> Iterator[dict[str, Any]]:
    """One row for each system and rate, the lowest rate first."""
    for system, rates in (("reprise", wanted.rates), ("generate", wanted.reference_rates)):
        if not rates or (system == "generate" and not (wanted.bundle / "model").is_dir()):
            continue
        with _serving(system, wanted) as (port, pid):
            asker = Asker(wanted.bundle, _mix(wanted), wanted.seed)
            if system == "reprise":  # what was asked before costs the reference as much as what was not
                asyncio.run(_warmed(port, asker))
            for rate in sorted(set(rates)):
                used, stolen, began = cpu_s(pid), stolen_s(), time.monotonic()
                row = asyncio.run(_loaded(port, asker, rate, wanted))
                yield {
                    "system": system,
                    **row,
                    "cpu_ms_per_request": _each_ms(used, cpu_s(pid), row["requests"]),
                    "stolen_share": _share(stolen, stolen_s(), time.monotonic() - began),
                }


def _each_ms(before_s: float | None, after_s: float | None, requests: int) -> float | None:
    """CPU time of the service for one request, served or refused, ms; None where it cannot be read."""
    return None if before_s is None or after_s is None else round(1000 * (after_s - before_s) / requests, 2)


def _share(before_s: float | None, after_s: float | None, took_s: float) -> float | None:
    """Of all processors' time: what the host of a virtual machine gave to others; None where it does not tell."""
    if before_s is None or after_s is None:
        return None
    return round((after_s - before_s) / (took_s * (os.cpu_count() or 1)), 4)


def _mix(wanted: Settings) -> Mix:
    lookup, personal, shared = wanted.mix
    return Mix(lookup, personal, shared, wanted.fresh)


async def _warmed(port: int, asker: Asker) -> None:
    load = Load(port)
    await load.one_by_one([_patient(ask) for ask in asker.pool()])
    load.close()


def _patient(ask: Any) -> Any:
    """Before the clock starts a request may take as long as it needs."""
    return type(ask)(ask.kind, ask.fresh, ask.body[:-1] + b', "deadline_ms": 10000}')


async def _loaded(port: int, asker: Asker, rate: float, wanted: Settings) -> dict[str, Any]:
    load = Load(port)
    asks = asker.draw(max(1, round(rate * wanted.seconds)))
    try:
        return summary(await load.open_loop(asks, rate, wanted.seed + 1), rate)
    finally:
        load.close()
        await asyncio.sleep(1.0)  # what is left of an overload must not burden the next rate


@contextmanager
def _serving(system: str, wanted: Settings) -> Iterator[tuple[int, int]]:
    """A service in a process of its own; yields its port and process id once it is ready."""
    with tempfile.TemporaryDirectory() as state:
        root = Path(__file__).parents[2]
        command = [sys.executable, "-m", "jobs.bench.serve_target", system, str(wanted.bundle.resolve()), state]
        # the reference may take its time: held to our deadline it would answer nothing at all
        limits = {"deadline_ms": 10_000.0} if system == "generate" else {}
        paths = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
        with subprocess.Popen(
            [*command, json.dumps({**wanted.service, **limits})],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        ) as process:
            try:
                yield _port(process), process.pid
            finally:
                process.terminate()
                process.wait(60)


def _port(process: "subprocess.Popen[str]") -> int:
    import httpx

    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("port "):
        raise ValueError("the service did not start; see what it said above")
    port = int(line.split()[1])
    until = time.monotonic() + STARTING_S
    while time.monotonic() < until and process.poll() is None:
        health = httpx.get(f"http://127.0.0.1:{port}/health").json()
        if health.get("status") == "ok":
            return port
        if health.get("bundle_error"):
            raise ValueError(f"the bundle cannot be served: {health['bundle_error']}")
        time.sleep(0.1)
    raise ValueError(f"the service was not ready within {STARTING_S:.0f} s")


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    p50, p99 = (f"{row[key]:8.1f}" if row[key] is not None else "       -" for key in ("p50_ms", "p99_ms"))
    rate, served = f"{row['rate']:6.1f}", f"{row['served_per_s']:8.1f}"
    cpu = "      -" if row["cpu_ms_per_request"] is None else f"{row['cpu_ms_per_request']:7.2f}"
    shares = f"{row['refused_share']:7.3f} {row['model_share']:6.2f} {row['shed_share']:6.3f}"
    stolen = "      -" if row["stolen_share"] is None else f"{row['stolen_share']:7.3f}"
    return f"{row['system']:9} {rate} {served}  {p50} {p99}  {shares} {cpu} {stolen}"


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that machine was."""
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return {"cores": cores, "processor": platform.processor() or platform.machine(), "load_average": round(load, 2)}


def settings_of(wanted: Settings) -> dict[str, Any]:
    """What was run, in plain values."""
    plain = asdict(wanted)
    return {**plain, "bundle": wanted.bundle.name}


def draw(report: dict[str, Any], path: Path) -> None:
    """Latency and refusals against the rate asked for."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    for system in ("reprise", "generate"):
        found = [row for row in report["rows"] if row["system"] == system]
        if not found:
            continue
        rates = [row["rate"] for row in found]
        name = "Reprise" if system == "reprise" else "generate per request"
        (drawn,) = top.plot(rates, [row["p99_ms"] for row in found], "o-", label=f"{name}, p99")
        top.plot(rates, [row["p50_ms"] for row in found], "o:", color=drawn.get_color(), label=f"{name}, p50")
        bottom.plot(rates, [row["served_per_s"] for row in found], "o-", color=drawn.get_color(), label=name)
    top.set(yscale="log", xscale="log", ylabel="ms from when the request was due")
    top.axhline(100, color="grey", linewidth=0.8)
    limits = [row["rate"] for row in report["rows"]]
    bottom.plot([min(limits), max(limits)], [min(limits), max(limits)], color="grey", linewidth=0.8)
    bottom.set(yscale="log", xscale="log", xlabel="requests a second", ylabel="served a second")
    top.legend()
    figure.savefig(path)
    plt.close(figure)
