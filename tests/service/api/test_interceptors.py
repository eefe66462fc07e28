"""What callers are told when something goes wrong, and what is counted."""

import asyncio
from contextlib import suppress

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from gradloom.service.api.status import error_from_call
from gradloom.service.errors import InvalidRequest, QuotaExceeded, ServiceBug
from gradloom.v1 import jobs_pb2
from gradloom.v1.jobs_pb2 import CreateJobRequest, GetJobRequest, Job, ValidateJobRequest

METHODS = ("ValidateJob", "CreateJob", "GetJob", "ListJobs", "CancelJob")


def samples(running, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric that are not 0, by the values of their labels."""
    text = running.metrics.render("")[1].decode()
    return {
        tuple(sample.labels[key] for key in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.value
    }


async def final(running, name: str, expected: dict[tuple[str, ...], float]):
    """The samples once they are as expected, or after a while: a status leaves before it counts."""
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            while samples(running, name) != expected:
                await asyncio.sleep(0)
    return samples(running, name)


@pytest.mark.parametrize("method", [*METHODS, "WatchJob"])
async def test_b001_bytes_that_are_no_request_are_the_callers_fault(running, method: str) -> None:
    path = f"/gradloom.v1.JobService/{method}"
    multi = running.channel.unary_stream if method == "WatchJob" else running.channel.unary_unary
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        call = multi(path)(b"\xff\xff\xff")
        await (call.read() if method == "WatchJob" else call)
    error = error_from_call(raised.value)
    assert isinstance(error, InvalidRequest)
    assert f"gradloom.v1.{method}Request" in error.faults[0].description
    assert error.faults[0].field == "$"


async def test_b000a_other_services_answer_such_bytes_alike(running) -> None:
    call = running.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_b000a_so_do_services_that_read_a_stream(running) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    call = running.channel.stream_stream(path)(iter([b"\xff"]))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_b000b_a_bug_is_told_by_its_incident_id_alone(running, message: Job) -> None:
    running.data.error = ZeroDivisionError("the secret of the house")
    with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as raised:
        await running.stub.CreateJob(CreateJobRequest(job=message))
    error = error_from_call(raised.value)
    assert isinstance(error, ServiceBug)
    assert "secret" not in str(raised.value.trailing_metadata()) + error.message
    (line,) = logs
    assert line["incident"] == error.metadata["incident"] == error.request_id
    assert line["exc_info"] is running.data.error


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
async def test_f32_a_service_out_of_means_says_so(running, message: Job, error: Exception) -> None:
    running.data.error = error
    with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as raised:
        await running.stub.ValidateJob(ValidateJobRequest(job=message))
    assert isinstance(error_from_call(raised.value), QuotaExceeded)
    assert logs == []


async def test_every_call_has_a_request_id_of_its_own(running) -> None:
    ids = set()
    for _ in range(3):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.stub.GetJob(GetJobRequest(name="jobs/none"))
        ids.add(error_from_call(raised.value).request_id)
    assert len(ids) == 3


async def test_calls_are_counted_by_method_and_code(running, message: Job) -> None:
    await running.stub.ValidateJob(ValidateJobRequest(job=message))
    await running.code_of("GetJob", GetJobRequest(name="jobs/none").SerializeToString())
    await running.code_of("NoSuchMethod", b"")
    await running.code_of("AnotherOne", b"")
    totals: dict[tuple[str, ...], float] = {
        ("OK", "gradloom.v1.JobService/ValidateJob"): 1,
        ("NOT_FOUND", "gradloom.v1.JobService/GetJob"): 1,
        ("UNIMPLEMENTED", "other"): 2,
    }
    assert await final(running, "gradloom_rpcs_total", totals) == totals
    assert samples(running, "gradloom_rpcs_started_total")[("other",)] == 2
    assert samples(running, "gradloom_rpc_seconds_count") == {
        ("gradloom.v1.JobService/ValidateJob",): 1,
        ("gradloom.v1.JobService/GetJob",): 1,
    }


async def test_open_streams_are_counted(running, new_job) -> None:
    job = running.store.create(new_job(), request_id="", content="")
    call = running.stub.WatchJob(jobs_pb2.WatchJobRequest(name=job.name))
    await call.read()
    method = ("gradloom.v1.JobService/WatchJob",)
    assert samples(running, "gradloom_rpc_streams") == {method: 1}
    running.service.drain()
    with pytest.raises(grpc.aio.AioRpcError):
        while await call.read():
            pass
    totals = {("UNAVAILABLE", *method): 1.0}
    assert await final(running, "gradloom_rpcs_total", totals) == totals
    assert samples(running, "gradloom_rpc_streams") == {}


async def test_a_deadline_that_passed_is_counted_as_one(running, new_job) -> None:
    job = running.store.create(new_job(), request_id="", content="")
    call = running.stub.WatchJob(jobs_pb2.WatchJobRequest(name=job.name), timeout=0.02)
    with pytest.raises(grpc.aio.AioRpcError):
        while await call.read():
            pass
    totals = {("DEADLINE_EXCEEDED", "gradloom.v1.JobService/WatchJob"): 1.0}
    assert await final(running, "gradloom_rpcs_total", totals) == totals
