"""Puts a service together from its parts, runs it until it is told to stop, takes it apart."""

import asyncio
import hashlib
import os
import platform
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import structlog
import uvicorn

from gradloom.service.api.door import METHODS, build_server, open_for_calls
from gradloom.service.api.interceptors import ErrorInterceptor, MetricsInterceptor
from gradloom.service.api.jobs import Identities, JobService
from gradloom.service.api.names import new_id
from gradloom.service.config import Endpoint, Ready, ServerConfig
from gradloom.service.errors import CannotServe
from gradloom.service.fleet.group import Fleet
from gradloom.service.fleet.opening import backend_of, open_fleet
from gradloom.service.jobs.sql_store import open_store
from gradloom.service.jobs.sqlite import StoreUnusable
from gradloom.service.jobs.store import JobStore
from gradloom.service.jobs.validation import validate_message
from gradloom.service.metrics import Metrics
from gradloom.service.training.certificate import fresh_certificate, no_certificate
from gradloom.service.training.floor import Floor
from gradloom.service.training.surroundings import Surroundings
from gradloom.service.web.app import build_app
from gradloom.worker.data.files import Roots
from gradloom.worker.engine.profile import BITS_VERSION
from gradloom.worker.exchange.segment import sweep

__all__ = ["Embedded", "Ready", "ServerConfig", "serve"]

log = structlog.get_logger()

_GRACE_SECONDS = 1.0
_NEWER_STORE = "STORE_NEWER"


def utc_now() -> datetime:
    """The time of day in UTC."""
    return datetime.now(UTC)


async def serve(
    config: ServerConfig,
    ready: Callable[[Ready], None],
    stop: asyncio.Event,
    fleet: Fleet | None = None,
    reconnected: Callable[[], None] = lambda: None,
) -> int:
    """Serves until stop is set; the exit code. A fleet that is given stays its owner's to close.

    reconnected is called, in another thread, when Ray was lost and is connected to anew.
    Raises CannotServe where it may not start, Unavailable where Ray does not answer.
    """
    grpc_at, http_at = config.endpoints()
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        store = _open_store(config.data_dir)
        stack.callback(store.close)
        if fleet is None:
            fleet = await asyncio.to_thread(open_fleet, config, reconnected)
            stack.callback(fleet.close)
        metrics = _metrics(config, store)
        around = _surroundings(config, store, fleet, metrics)
        # Whoever made files of shared memory and was killed before they lost their names is swept.
        sweep(around.segments)
        floor = Floor(around)
        door = _Door(config, store, metrics)
        bound = await door.open(grpc_at)
        stack.push_async_callback(door.close)
        http = await _Http.open(metrics, http_at)
        stack.push_async_callback(http.close)
        floor.start()
        stack.push_async_callback(asyncio.to_thread, floor.stop)
        stack.callback(door.drain)
        ready(Ready(str(bound), str(http.endpoint), backend_of(config), _warning(config)))
        await stop.wait()
    return 0


def _open_store(data_dir: Path) -> JobStore:
    try:
        return open_store(data_dir / "jobs.sqlite", utc_now)
    except StoreUnusable as error:
        code = 4 if error.reason == _NEWER_STORE else 3
        raise CannotServe(error.message, reason=error.reason, exit_code=code) from error


def _warning(config: ServerConfig) -> str:
    """Ray of our own listens on all addresses; it cannot be told not to."""
    if backend_of(config) == "local" or config.address:
        return ""
    return (
        "Ray listens on all addresses of this machine, guarded only by its token: where others "
        "can reach it, use --backend local or a firewall."
    )


def _metrics(config: ServerConfig, store: JobStore) -> Metrics:
    build = {
        "version": version("gradloom"),
        "bits_version": str(BITS_VERSION),
        "python": platform.python_version(),
        "profile": config.profile,
    }
    metrics = Metrics(now=utc_now, count_jobs=store.count, build=build)
    metrics.serves(METHODS)
    return metrics


def _surroundings(
    config: ServerConfig, store: JobStore, fleet: Fleet, metrics: Metrics
) -> Surroundings:
    return Surroundings(
        store=store,
        fleet=fleet,
        metrics=metrics,
        monotonic=time.monotonic,
        now=utc_now,
        jobs_folder=config.data_dir / "jobs",
        roots=tuple(str(root) for root in config.roots),
        profile=config.profile,
        segments=str(config.segment_folder / f"gradloom-{_store_id(config)}"),
        certificate=fresh_certificate if config.encrypt_workers else no_certificate,
    )


def _store_id(config: ServerConfig) -> str:
    """A few letters by which a service knows what is its own among things that others see."""
    return hashlib.sha256(_secret(config.data_dir / "page_secret")).hexdigest()[:12]


class _Door:
    """The gRPC side."""

    def __init__(self, config: ServerConfig, store: JobStore, metrics: Metrics) -> None:
        roots = Roots(config.roots)
        self._service = JobService(
            store,
            lambda message: validate_message(message, roots),
            identities=Identities(
                id_for=lambda title: new_id(title, secrets.choice), uid=lambda: str(uuid.uuid4())
            ),
            clock=utc_now,
            secret=_secret(config.data_dir / "page_secret"),
        )
        interceptors = (MetricsInterceptor(metrics), ErrorInterceptor(lambda: uuid.uuid4().hex))
        self._server, self._wellness = build_server(self._service, interceptors)

    async def open(self, wanted: Endpoint) -> Endpoint:
        """Listens; where, if a free port was asked for. Raises CannotServe."""
        try:
            port = self._server.add_insecure_port(str(wanted))
        except RuntimeError as error:
            raise _port_taken(wanted) from error
        await self._server.start()
        await open_for_calls(self._wellness)
        return Endpoint(wanted.host, port)

    def drain(self) -> None:
        """Takes no more jobs and ends all streams."""
        self._service.drain()

    async def close(self) -> None:
        """Finishes the calls under way and listens no more."""
        await self._wellness.enter_graceful_shutdown()
        await self._server.stop(_GRACE_SECONDS)
        self._service.close()


def _port_taken(endpoint: Endpoint) -> CannotServe:
    return CannotServe(
        f"Port {endpoint.port} on {endpoint.host} is in use or may not be used: "
        "stop what listens there, or choose another port.",
        reason="PORT_IN_USE",
    )


class _Http:
    """The HTTP side, in the same event loop."""

    def __init__(self, server: uvicorn.Server, task: "asyncio.Task[None]", at: Endpoint) -> None:
        self._server = server
        self._task = task
        self.endpoint = at

    @classmethod
    async def open(cls, metrics: Metrics, wanted: Endpoint) -> "_Http":
        """Listens. Raises CannotServe."""
        sockets = [_bound(wanted)]
        app = build_app(metrics, lambda: "")
        server = _QuietServer(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        )
        task = asyncio.create_task(server.serve(sockets=sockets))
        return cls(server, task, Endpoint(wanted.host, sockets[0].getsockname()[1]))

    async def close(self) -> None:
        """Listens no more."""
        self._server.should_exit = True
        await self._task


class _QuietServer(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command line's; uvicorn would raise them a second time at its end."""
        yield


def _bound(wanted: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((wanted.host, wanted.port))
    except OSError as error:
        listening.close()
        raise _port_taken(wanted) from error
    return listening


def _secret(path: Path) -> bytes:
    """The key that signs page tokens, made at the first start."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


class Embedded:
    """A service in a thread of this process, for as long as the with block lasts."""

    def __init__(self, config: ServerConfig, fleet: Fleet | None = None) -> None:
        self._config = config
        self._fleet = fleet
        self._ready: Ready | None = None
        self._error: BaseException | None = None
        self._settled = threading.Event()
        self._is_ending = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="service")

    def __enter__(self) -> Ready:
        """Waits until it is up; raises what kept it from that, an interruption included."""
        self._thread.start()
        try:
            self._settled.wait()
        except BaseException:
            self._end()
            raise
        if self._ready is None:
            self._thread.join()
            raise self._error or RuntimeError("the service ended before it was ready")
        return self._ready

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops it."""
        self._end()

    def _end(self) -> None:
        self._is_ending = True
        if self._loop is not None and self._stop is not None:
            # It may have ended by itself.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._settled.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._is_ending:
            return
        await serve(self._config, self._announce, self._stop, self._fleet)

    def _announce(self, ready: Ready) -> None:
        self._ready = ready
        self._settled.set()
