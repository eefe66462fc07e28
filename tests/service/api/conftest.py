"""JobService behind a real gRPC server, on a store in memory."""

import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import grpc
import pytest

from gradloom.service.api.door import METHODS, build_server, open_for_calls
from gradloom.service.api.interceptors import ErrorInterceptor, MetricsInterceptor
from gradloom.service.api.jobs import Identities, JobService
from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.jobs.job import Plan, Receipt
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.spec import JobSpec
from gradloom.service.jobs.store import Clock
from gradloom.service.metrics import Metrics
from gradloom.service.wire import spec_from_wire, spec_to_wire
from gradloom.v1 import jobs_pb2, jobs_pb2_grpc, specs_pb2

RECEIPT = Receipt(data_sha256="da" * 32, spec_sha256="5e" * 32)
PLAN = Plan((), 4810, 2, 90, 30, 3, 1920, 0, 0, 10_000)


@dataclass(frozen=True)
class Accepted:
    """What every spec comes to here."""

    spec: JobSpec
    plan: Plan = PLAN
    receipt: Receipt = RECEIPT
    warnings: tuple[SpecFault, ...] = (SpecFault("data.inputs[0]", "Column 12 is constant."),)


@dataclass
class Data:
    """The data that specs are checked against: the test says what is wrong with it."""

    faults: tuple[SpecFault, ...] = ()
    error: Exception | None = None

    def validate(self, message: specs_pb2.JobSpec) -> Accepted:
        if self.error:
            raise self.error
        if self.faults:
            raise InvalidSpec(self.faults)
        return Accepted(spec_from_wire(message))


@dataclass
class Running:
    """A service that takes calls, and what is behind it."""

    store: MemoryStore
    data: Data
    service: JobService
    metrics: Metrics
    channel: grpc.aio.Channel
    stub: "jobs_pb2_grpc.JobServiceAsyncStub"

    async def code_of(self, method: str, request: bytes) -> grpc.StatusCode:
        """How a call with these bytes ends."""
        call = self.channel.unary_unary(f"/gradloom.v1.JobService/{method}")(request)
        with suppress(grpc.aio.AioRpcError):
            await call
        return await call.code()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
async def running(store: MemoryStore, clock: Clock) -> AsyncIterator[Running]:
    numbers = itertools.count(1)
    data = Data()
    metrics = Metrics(now=clock, count_jobs=store.count, build={"version": "0"})
    metrics.serves(METHODS)
    service = JobService(
        store,
        data.validate,
        identities=Identities(lambda title: f"{title}-{next(numbers):08}", lambda: "uid"),
        clock=clock,
        secret=b"secret",
        heartbeat_seconds=0.05,
    )
    interceptors = [MetricsInterceptor(metrics), ErrorInterceptor(lambda: f"r{next(numbers)}")]
    server, wellness = build_server(service, interceptors)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await open_for_calls(wellness)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = jobs_pb2_grpc.JobServiceStub(channel)
        yield Running(store, data, service, metrics, channel, stub)
    await server.stop(None)
    service.close()


@pytest.fixture
def message(spec: JobSpec) -> jobs_pb2.Job:
    """A job as a user sends it."""
    return jobs_pb2.Job(spec=spec_to_wire(spec), labels={"team": "a"})
