"""Streams of events: nothing lost, nothing twice, no thread and no queue."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from gradloom.service.api.status import error_from_call
from gradloom.service.api.streams import Streams
from gradloom.service.errors import InvalidRequest, NotFound, OutOfRange, Unavailable
from gradloom.service.jobs.job import IncidentHappened, Job, Recorded, StateChanged
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.states import Reason, State
from gradloom.v1.jobs_pb2 import WatchJobRequest

NAME = "jobs/digits-1"
INCIDENT = IncidentHappened(Reason.WORKER_LOST, "worker 1 died", worker=1, step=5)
STARTING = StateChanged(State.STARTING, Reason.SCHEDULED)
FAILED = StateChanged(State.FAILED, Reason.NON_FINITE)


@pytest.fixture
async def streams(store: MemoryStore, new_job: Callable[..., Job]) -> AsyncIterator[Streams]:
    store.create(new_job(), request_id="", content="")
    streams = Streams(store, idle_seconds=5.0)
    yield streams
    streams.close()


async def revisions(stream: AsyncIterator[Recorded | None]) -> list[int]:
    return [record.revision async for record in stream if record]


async def test_an_ended_job_is_told_from_the_beginning_to_its_end(
    store: MemoryStore, streams: Streams
) -> None:
    store.record(NAME, STARTING, *[INCIDENT] * 40, FAILED)
    assert await revisions(streams.follow(NAME, 0)) == list(range(1, 44))


async def test_a_stream_goes_on_after_the_revision_given(
    store: MemoryStore, streams: Streams
) -> None:
    store.record(NAME, STARTING, FAILED)
    assert await revisions(streams.follow(NAME, 1)) == [2, 3]


async def test_a_stream_resumed_at_the_end_ends_at_once(
    store: MemoryStore, streams: Streams
) -> None:
    store.record(NAME, STARTING, FAILED)
    assert await revisions(streams.follow(NAME, 3)) == []


async def test_nothing_follows_the_final_state(store: MemoryStore, streams: Streams) -> None:
    store.record(NAME, STARTING, FAILED, INCIDENT)
    assert await revisions(streams.follow(NAME, 0)) == [1, 2, 3]


async def test_events_of_another_thread_wake_the_stream(
    store: MemoryStore, streams: Streams
) -> None:
    stream = streams.follow(NAME, 1)
    news = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(store.record, NAME, STARTING)
    record = await news
    assert record is not None
    assert record.event == STARTING
    await stream.aclose()


async def test_many_streams_see_every_event_in_order_and_no_thread_is_made(
    store: MemoryStore, streams: Streams
) -> None:
    watchers = [asyncio.ensure_future(revisions(streams.follow(NAME, 0))) for _ in range(300)]
    await asyncio.to_thread(store.get, NAME)
    threads = threading.active_count()

    def train() -> None:
        for _ in range(30):
            store.record(NAME, INCIDENT)
        store.record(NAME, FAILED)

    await asyncio.to_thread(train)
    assert await asyncio.gather(*watchers) == [list(range(1, 33))] * 300
    assert threading.active_count() <= threads + 32


async def test_an_idle_stream_says_so(store: MemoryStore, new_job: Callable[..., Job]) -> None:
    store.create(new_job(), request_id="", content="")
    streams = Streams(store, idle_seconds=0.01)
    stream = streams.follow(NAME, 1)
    assert [await anext(stream), await anext(stream)] == [None, None]
    await stream.aclose()


async def test_an_update_without_an_event_sends_nothing(
    store: MemoryStore, streams: Streams
) -> None:
    watcher = asyncio.ensure_future(revisions(streams.follow(NAME, 0)))
    await asyncio.to_thread(store.update, NAME, lambda job: job)
    await asyncio.to_thread(store.record, NAME, FAILED)
    assert await watcher == [1, 2]


async def test_b075_an_unknown_job_has_no_stream(streams: Streams) -> None:
    with pytest.raises(NotFound):
        await anext(streams.follow("jobs/none", 0))


async def test_b081_a_revision_to_come_is_out_of_range(streams: Streams) -> None:
    with pytest.raises(OutOfRange, match="at revision 1, you asked after 99") as raised:
        await anext(streams.follow(NAME, 99))
    assert raised.value.metadata == {"revision": "1", "afterRevision": "99"}


async def test_b082_a_negative_revision_is_refused(streams: Streams) -> None:
    with pytest.raises(InvalidRequest, match="after_revision is -2"):
        await anext(streams.follow(NAME, -2))


async def test_f31_draining_ends_a_waiting_stream_where_it_can_be_resumed(
    streams: Streams,
) -> None:
    stream = streams.follow(NAME, 1)
    news = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    streams.drain()
    with pytest.raises(Unavailable, match="after revision 1"):
        await news


async def test_f55_a_watcher_that_left_leaves_nothing_behind(streams: Streams) -> None:
    stream = streams.follow(NAME, 0)
    await anext(stream)
    await stream.aclose()
    assert streams.watched == frozenset()


async def test_watching_over_the_wire_sends_events_and_heartbeats(
    running, new_job: Callable[..., Job]
) -> None:
    running.store.create(new_job(), request_id="", content="")
    call = running.stub.WatchJob(WatchJobRequest(name=NAME))
    events = aiter(call)
    first, idle = await anext(events), await anext(events)
    assert (first.revision, first.job.name) == (1, NAME)
    assert (idle.revision, idle.WhichOneof("event")) == (1, "heartbeat")
    assert idle.HasField("event_time")
    running.store.record(NAME, INCIDENT, FAILED)
    rest = [event async for event in events if not event.HasField("heartbeat")]
    assert [event.WhichOneof("event") for event in rest] == ["incident", "job"]
    assert await call.code() is grpc.StatusCode.OK


async def test_f56_a_reader_that_comes_late_misses_nothing(
    running, new_job: Callable[..., Job]
) -> None:
    running.store.create(new_job(), request_id="", content="")
    long = IncidentHappened(Reason.WORKER_ERROR, "x" * 10_000)
    call = running.stub.WatchJob(WatchJobRequest(name=NAME))
    events = aiter(call)
    assert (await anext(events)).revision == 1
    running.store.record(NAME, *[long] * 500, FAILED)
    late = [event.revision async for event in events if not event.HasField("heartbeat")]
    assert late == list(range(2, 503))


async def test_b081_out_of_range_reaches_the_watcher(running, new_job: Callable[..., Job]) -> None:
    running.store.create(new_job(), request_id="", content="")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await running.stub.WatchJob(WatchJobRequest(name=NAME, after_revision=9)).read()
    assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert error_from_call(raised.value).reason == "REVISION_AHEAD"


async def test_f55_a_client_that_hangs_up_frees_its_stream(
    running, new_job: Callable[..., Job]
) -> None:
    running.store.create(new_job(), request_id="", content="")
    call = running.stub.WatchJob(WatchJobRequest(name=NAME))
    await call.read()
    assert running.service.watched == {NAME}
    call.cancel()
    async with asyncio.timeout(5):
        while running.service.watched:
            await asyncio.sleep(0)
