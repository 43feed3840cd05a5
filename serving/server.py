"""Runs the service: builds it from its settings, listens, follows the registry, and leaves without losing a request."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rewrite.registry import Registry
from serving import tracing
from serving.app import create_app
from serving.config import ServeConfig
from serving.holder import BadBundle, Holder, NoSuchBundle
from serving.keys import Keyring
from serving.metrics import Metrics
from serving.pool import Pool
from serving.seats import Hear, InlineSeat, ProcessSeat, Seat, WorkerSettings
from serving.service import Service
from serving.state import state_folder
from serving.sweeping import settle

HEAD_TIMEOUT_S = 10.0
"""To send the head of a request, from the moment of connecting."""


def check_address(config: ServeConfig, keyring: Keyring) -> None:
    """Refuse to let others in without a key.

    Raises:
        ValueError: the address is not of this machine alone, and no key is set.
    """
    if not config.is_loopback and not keyring.has("use"):
        raise ValueError(
            f"{config.host} can be reached from other machines and no key is set; got --host {config.host} without a "
            "key for `use`; make one with `reprise serve-key`, and name its file with --keys, or listen on 127.0.0.1"
        )


def make_pool(config: ServeConfig) -> Pool:
    """Workers as the settings want them."""
    wanted = WorkerSettings(
        config.threads, config.model_batch, config.precision, config.device, config.scores_cached, config.users_cached
    )

    def seat(hear: Hear, gone: Callable[[Any], None]) -> Seat:
        if config.workers == 0:
            from serving.engine import open_bundle

            return InlineSeat(partial(open_bundle, settings=wanted), hear, wanted.model_batch)
        return ProcessSeat(wanted, hear, gone)

    return Pool(config.workers, seat)


@asynccontextmanager
async def running(config: ServeConfig, pool: Pool) -> AsyncIterator[Service]:
    """A service with its workers up and a bundle in force, or without one where there is none yet."""
    metrics = Metrics()
    await pool.start()
    registry = Registry(config.registry) if config.registry is not None else None
    holder = Holder(pool, registry, config.bundle, partial(_note_load, metrics))
    service = Service(config, pool, holder, metrics)
    await service.clean_up()
    begun = [asyncio.create_task(_first_load(service)), asyncio.create_task(service.chores())]
    try:
        yield service
    finally:
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        await service.settled()
        await pool.stop()
        service.exposures.close()


async def _first_load(service: Service) -> None:
    try:
        await service.holder.reload()
        service.swapped()
    except (NoSuchBundle, BadBundle) as error:
        service.holder.error = str(error)
        structlog.get_logger("serve").error("no bundle is in force: every turn is left alone", cause=str(error))


def _note_load(metrics: Metrics, well: bool) -> None:
    metrics.loads.labels("good" if well else "bad").inc()


class Server(uvicorn.Server):
    """On SIGTERM first says that it is not ready, then stops listening, then answers what is in flight.

    Balancers need a moment to see that it is not ready; whoever connects in that time is served as ever.
    """

    def __init__(self, config: uvicorn.Config, service: Service, grace_s: float) -> None:
        super().__init__(config)
        self._service = service
        self._grace_s = grace_s
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain; Ctrl-C again ends the grace, and once more the wait for answers."""
        if self._service.draining and sig == signal.SIGINT:
            # not uvicorn's own: it raises the signal again at the end, which would leave the workers running for ever
            self.force_exit = self.should_exit
            self.should_exit = True
            return
        if self._service.draining:
            return
        self._service.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._grace_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


class PatientProtocol(HttpToolsProtocol):
    """Closes connections that do not come to the point: a slow head would hold its place for ever."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def on_headers_complete(self) -> None:
        self._head_timer.cancel()
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_timer.cancel()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_timer.cancel()
        super().connection_lost(exc)

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


async def _watch_keys(keyring: Keyring, metrics: Metrics, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            keyring.refresh()
            metrics.keys_stale.set(0)
        except (OSError, ValueError) as error:
            metrics.keys_stale.set(1)
            structlog.get_logger("serve").error("the keys cannot be read; the old ones stay", cause=str(error))


async def serve(
    config: ServeConfig,
    page: APIRouter | None = None,
    started: Callable[[FastAPI, int], None] | None = None,
    pool: Pool | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        page: what is mounted at `/`, if anything. started: called with the application and the port once it listens.

    Raises:
        ValueError: the settings cannot be served. OSError: the address is taken.
    """
    keyring = Keyring(config.keys)
    check_address(config, keyring)
    if config.trace and not tracing.switch_on():
        raise ValueError("tracing was asked for, but opentelemetry is not installed; `pip install opentelemetry-sdk`")
    with _listening(config) as listener, state_folder(config.state):
        async with running(config, pool or make_pool(config)) as service:
            watch = asyncio.create_task(_watch_keys(keyring, service.metrics, config.watch_s))
            app = create_app(service, keyring, page)
            server = Server(_uvicorn(config, app), service, config.grace_s)
            app.state.server = server
            listener.listen(server.config.backlog)
            if started is not None:
                started(app, listener.getsockname()[1])
            try:
                await server.serve(sockets=[listener])
            finally:
                watch.cancel()


def _uvicorn(config: ServeConfig, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        limit_concurrency=config.max_connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(config.max_deadline_ms / 1000) + 5,
        h11_max_incomplete_event_size=64 * 1024,
    )


@contextmanager
def _listening(config: ServeConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot listen; got --host {config.host} --port {config.port} ({error.strerror}); expected an address "
                "of this machine and a free port; does another service run there? --port 0 takes any that is free",
            ) from error
        listener.set_inheritable(True)
        yield listener


def run(
    config: ServeConfig,
    page: APIRouter | None = None,
    started: Callable[[FastAPI, int], None] | None = None,
    pool: Pool | None = None,
) -> None:
    """`serve`, on the fastest event loop there is, in a process of its own."""

    def begun(app: FastAPI, port: int) -> None:
        settle()
        if started is not None:
            started(app, port)

    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(config, page, begun, pool))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(config, page, begun, pool))
