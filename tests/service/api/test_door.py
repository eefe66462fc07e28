"""The gRPC server as a whole."""

import random

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gradloom.service.api.door import METHODS as ALL_METHODS
from gradloom.v1 import jobs_pb2
from gradloom.v1.jobs_pb2 import Job

METHODS = {
    "ValidateJob": jobs_pb2.ValidateJobRequest,
    "CreateJob": jobs_pb2.CreateJobRequest,
    "GetJob": jobs_pb2.GetJobRequest,
    "ListJobs": jobs_pb2.ListJobsRequest,
    "CancelJob": jobs_pb2.CancelJobRequest,
    "UpdateJob": jobs_pb2.UpdateJobRequest,
}


def test_every_method_is_named() -> None:
    assert set(ALL_METHODS) == {f"gradloom.v1.JobService/{name}" for name in (*METHODS, "WatchJob")}


async def test_the_service_is_well_by_name(running) -> None:
    health = health_pb2_grpc.HealthStub(running.channel)
    for name in ("", "gradloom.v1.JobService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_service(running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([ask]))
    names = {service.name for service in (await call.read()).list_services_response.service}
    assert {"gradloom.v1.JobService", "grpc.health.v1.Health"} <= names
    call.cancel()


@pytest.mark.parametrize("method", METHODS)
async def test_no_bytes_make_a_bug(running, new_job, message: Job, method: str) -> None:
    draw = random.Random(method)
    running.store.create(new_job("digits-1"), request_id="", content="")
    seed = sample_request(method, message).SerializeToString()
    seen = {await running.code_of(method, mutated(seed, draw)) for _ in range(300)}
    assert not seen & {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
    assert len(seen) > 1


def sample_request(method: str, message: Job):
    kind = METHODS[method]
    if method == "UpdateJob":
        return kind(job=Job(name="jobs/digits-1", spec=message.spec))
    if "job" in kind.DESCRIPTOR.fields_by_name:
        return kind(job=message)
    return kind(name="jobs/a") if "name" in kind.DESCRIPTOR.fields_by_name else kind(page_size=5)


def mutated(seed: bytes, draw: random.Random) -> bytes:
    """The request with some bytes flipped, cut out, repeated or put in."""
    data = bytearray(seed)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(data) + 1)
        match draw.randrange(4):
            case 0 if data:
                data[place % len(data)] ^= 1 << draw.randrange(8)
            case 1:
                del data[place : place + draw.randint(1, 8)]
            case 2:
                data[place:place] = data[place : place + draw.randint(1, 40)]
            case _:
                data[place:place] = draw.randbytes(draw.randint(1, 8))
    return bytes(data)
