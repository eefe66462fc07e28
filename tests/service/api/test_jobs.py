"""The calls of JobService, over a real channel."""

import asyncio
from collections.abc import Awaitable

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from gradloom.service.api.status import error_from_call
from gradloom.service.errors import (
    AlreadyExists,
    GradloomError,
    InvalidRequest,
    InvalidSpec,
    NotFound,
    SpecFault,
    Unavailable,
    WrongState,
)
from gradloom.service.jobs.job import ResourcesChanged, StateChanged
from gradloom.service.jobs.spec import Resources
from gradloom.service.jobs.states import Reason, State
from gradloom.v1 import jobs_pb2
from gradloom.v1.jobs_pb2 import (
    CancelJobRequest,
    CreateJobRequest,
    GetJobRequest,
    Job,
    ListJobsRequest,
    UpdateJobRequest,
    ValidateJobRequest,
)
from gradloom.v1.specs_pb2 import JobSpec, ResourcesSpec


async def error_of(call: Awaitable[object]) -> GradloomError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_from_call(raised.value)


async def faults_of(call: Awaitable[object]) -> dict[str, str]:
    error = await error_of(call)
    assert isinstance(error, InvalidRequest)
    return {fault.field: fault.description for fault in error.faults}


async def created(running, message: Job, **fields: object) -> Job:
    response = await running.stub.CreateJob(CreateJobRequest(job=message, **fields))
    return response.job


async def test_a_created_job_is_queued_with_plan_and_hashes(running, message: Job) -> None:
    job = await created(running, message)
    assert (job.name, job.display_name) == ("jobs/digits-00000001", "digits")
    assert (job.state, job.revision) == (jobs_pb2.Job.STATE_QUEUED, 1)
    assert (job.spec, dict(job.labels)) == (message.spec, {"team": "a"})
    assert (job.plan.steps, job.receipt.data_sha256) == (90, "da" * 32)


async def test_output_only_fields_of_a_request_are_ignored(running, message: Job) -> None:
    message.name, message.state, message.revision = "jobs/mine", Job.STATE_SUCCEEDED, 99
    job = await created(running, message)
    assert (job.name, job.state, job.revision) == (
        "jobs/digits-00000001",
        Job.STATE_QUEUED,
        1,
    )


async def test_a_name_that_is_taken_is_drawn_again(running, message: Job, new_job) -> None:
    running.store.create(new_job("digits-00000001"), request_id="", content="")
    assert (await created(running, message)).name == "jobs/digits-00000002"


async def test_validate_only_makes_nothing(running, message: Job) -> None:
    job = await created(running, message, validate_only=True)
    assert (job.name, job.plan.parameters) == ("", 4810)
    assert running.store.list(10) == ()


async def test_all_faults_are_told_with_their_paths(running, message: Job) -> None:
    running.data.faults = (SpecFault("training.epochs", "too few"), SpecFault("seed", "odd"))
    error = await error_of(created(running, message))
    assert isinstance(error, InvalidSpec)
    assert [fault.field for fault in error.faults] == ["job.spec.training.epochs", "job.spec.seed"]
    assert running.store.list(10) == ()


async def test_an_empty_request_is_told_what_it_lacks(running) -> None:
    faults = await faults_of(running.stub.CreateJob(CreateJobRequest()))
    assert all(field.startswith("job.spec") for field in faults)
    assert {"job.spec.data", "job.spec.model"} <= set(faults)


async def test_validate_answers_with_every_fault(running, message: Job) -> None:
    running.data.faults = tuple(SpecFault(f"x[{index}]", "no" * 50) for index in range(200))
    response = await running.stub.ValidateJob(ValidateJobRequest(job=message))
    assert len(response.faults) == 200
    assert response.faults[7].field == "job.spec.x[7]"
    assert not response.HasField("plan")


async def test_validate_answers_with_plan_and_warnings(running, message: Job) -> None:
    response = await running.stub.ValidateJob(ValidateJobRequest(job=message))
    assert response.plan.steps_per_epoch == 30
    assert [warning.field for warning in response.warnings] == ["job.spec.data.inputs[0]"]
    assert not response.faults


async def test_b070_labels_have_limits(running, message: Job) -> None:
    message.labels.update({f"k{index}": "v" for index in range(64)})
    message.labels["\u202e"] = "v"
    message.labels["long"] = "ü" * 200
    faults = await faults_of(created(running, message))
    assert faults["job.labels"] == "67 labels given, 64 allowed: drop some."
    assert "do not print" in faults['job.labels["\\u202e"]']
    assert "400" in faults['job.labels["long"]']


@pytest.mark.parametrize("request_id", ["x" * 37, "a\nb", "ü"])
async def test_b071_a_request_id_is_a_short_word(running, message: Job, request_id: str) -> None:
    faults = await faults_of(created(running, message, request_id=request_id))
    assert "use a UUID" in faults["request_id"]


async def test_b072_many_calls_at_once_make_one_job(running, message: Job) -> None:
    calls = (created(running, message, request_id="r") for _ in range(100))
    jobs = await asyncio.gather(*calls)
    assert len({job.name for job in jobs}) == len(running.store.list(10)) == 1


async def test_b072_a_repeated_call_looks_at_no_data(running, message: Job) -> None:
    first = await created(running, message, request_id="r")
    running.data.faults = (SpecFault("data.path", "gone since"),)
    assert (await created(running, message, request_id="r")).name == first.name


async def test_b072_a_default_written_out_is_the_same_content(running, message: Job) -> None:
    first = await created(running, message, request_id="r")
    message.spec.model.layers[0].dense.ClearField("bias")
    assert (await created(running, message, request_id="r")).name == first.name


async def test_b073_a_request_id_is_not_used_twice(running, message: Job) -> None:
    await created(running, message, request_id="r")
    message.spec.seed = 8
    error = await error_of(created(running, message, request_id="r"))
    assert isinstance(error, AlreadyExists)
    assert error.metadata == {"requestId": "r", "name": "jobs/digits-00000001"}


async def test_b103_a_cancelled_create_is_whole_or_not_there(running, message: Job) -> None:
    for number in range(30):
        call = running.stub.CreateJob(CreateJobRequest(job=message, request_id=f"r{number}"))
        for _ in range(number):
            await asyncio.sleep(0)
        call.cancel()
    jobs = [await created(running, message, request_id=f"r{number}") for number in range(30)]
    assert len({job.name for job in jobs}) == len(running.store.list(1000)) == 30


async def test_get_gives_the_job_as_it_is(running, message: Job) -> None:
    made = await created(running, message)
    assert (await running.stub.GetJob(GetJobRequest(name=made.name))).job == made


async def test_get_gives_the_fields_asked_for(running, message: Job) -> None:
    name = (await created(running, message)).name
    mask = FieldMask(paths=["state", "plan.steps"])
    job = (await running.stub.GetJob(GetJobRequest(name=name, read_mask=mask))).job
    assert job == Job(state=Job.STATE_QUEUED, plan=jobs_pb2.Plan(steps=90))


async def test_b075_an_unknown_job_is_not_found(running) -> None:
    error = await error_of(running.stub.GetJob(GetJobRequest(name="jobs/digits-7f")))
    assert isinstance(error, NotFound)
    assert (error.reason, error.metadata) == ("JOB_NOT_FOUND", {"name": "jobs/digits-7f"})


@pytest.mark.parametrize("name", ["", "digits-7f", "jobs/", "jobs/A", "jobs/a/b", "jobs/a\n"])
async def test_b075_a_malformed_name_is_refused(running, name: str) -> None:
    calls = (
        running.stub.GetJob(GetJobRequest(name=name)),
        running.stub.CancelJob(CancelJobRequest(name=name)),
        running.stub.WatchJob(jobs_pb2.WatchJobRequest(name=name)).read(),
    )
    for call in calls:
        assert list(await faults_of(call)) == ["name"]


async def test_list_goes_through_all_jobs_once(running, message: Job) -> None:
    names = [(await created(running, message)).name for _ in range(5)]
    seen, token, pages = [], "", 0
    while not pages or token:
        request = ListJobsRequest(page_size=2, page_token=token)
        response = await running.stub.ListJobs(request)
        seen += [job.name for job in response.jobs]
        token, pages = response.next_page_token, pages + 1
    assert (seen, pages) == (names[::-1], 3)


async def test_a_page_that_ends_the_list_has_no_token(running, message: Job) -> None:
    for _ in range(2):
        await created(running, message)
    response = await running.stub.ListJobs(ListJobsRequest(page_size=2))
    assert (len(response.jobs), response.next_page_token) == (2, "")


async def test_a_list_leaves_large_fields_out(running, message: Job) -> None:
    await created(running, message)
    (job,) = (await running.stub.ListJobs(ListJobsRequest())).jobs
    assert (job.display_name, dict(job.labels)) == ("digits", {"team": "a"})
    assert not (job.HasField("spec") or job.HasField("plan") or job.transitions)


async def test_a_list_has_large_fields_for_who_asks(running, message: Job) -> None:
    await created(running, message)
    request = ListJobsRequest(read_mask=FieldMask(paths=["spec"]))
    (job,) = (await running.stub.ListJobs(request)).jobs
    assert job == Job(spec=message.spec)


async def test_b079_the_page_size_may_change_and_the_mask_not(running, message: Job) -> None:
    for _ in range(3):
        await created(running, message)
    token = (await running.stub.ListJobs(ListJobsRequest(page_size=1))).next_page_token
    request = ListJobsRequest(page_size=5, page_token=token)
    assert len((await running.stub.ListJobs(request)).jobs) == 2
    request.read_mask.paths.append("state")
    assert list(await faults_of(running.stub.ListJobs(request))) == ["page_token"]


async def test_cancel_writes_down_the_wish_and_may_be_repeated(running, message: Job) -> None:
    name = (await created(running, message)).name
    first = (await running.stub.CancelJob(CancelJobRequest(name=name))).job
    again = (await running.stub.CancelJob(CancelJobRequest(name=name))).job
    assert (first.state, first.reason) == (Job.STATE_CANCELLING, Job.REASON_CANCEL_REQUESTED)
    assert again == first


async def test_b087_cancelling_what_failed_names_the_state(running, message: Job) -> None:
    name = (await created(running, message)).name
    running.store.record(name, StateChanged(State.FAILED, Reason.NON_FINITE))
    error = await error_of(running.stub.CancelJob(CancelJobRequest(name=name)))
    assert isinstance(error, WrongState)
    assert error.metadata["state"] == "FAILED"
    assert "RUNNING" in error.metadata["needs"]


async def test_a_draining_service_takes_no_jobs_and_still_answers(running, message: Job) -> None:
    name = (await created(running, message)).name
    running.service.drain()
    error = await error_of(created(running, message))
    assert (type(error), error.reason) == (Unavailable, "DRAINING")
    assert (await running.stub.GetJob(GetJobRequest(name=name))).job.name == name


async def updated(running, job: Job, *paths: str) -> Job:
    mask = FieldMask(paths=paths) if paths else None
    request = UpdateJobRequest(job=job, update_mask=mask)
    return (await running.stub.UpdateJob(request)).job


def wanting(name: str, **numbers: int) -> Job:
    """A job as the user of UpdateJob sends it."""
    return Job(name=name, spec=JobSpec(resources=ResourcesSpec(**numbers)))


async def test_an_update_changes_the_workers_its_mask_names(running, message: Job) -> None:
    message.spec.training.shards = 8
    name = (await created(running, message)).name
    asked = wanting(name, workers=4, max_workers=8)
    job = await updated(running, asked, "spec.resources.workers")
    assert (job.spec.resources.workers, job.spec.resources.max_workers) == (4, 0)
    job = await updated(running, asked)
    assert (job.spec.resources.workers, job.spec.resources.max_workers) == (4, 8)
    assert job.spec.training == message.spec.training


async def test_an_update_may_be_repeated_and_stands_in_the_history_once(
    running, message: Job
) -> None:
    message.spec.training.shards = 8
    name = (await created(running, message)).name
    first = await updated(running, wanting(name, workers=3))
    again = await updated(running, wanting(name, workers=3))
    assert first == again
    _, change = running.store.history(name, 0, 10)
    assert change.event == ResourcesChanged(Resources(workers=3))
    assert (change.revision, first.revision) == (2, 2)


async def test_an_update_leaves_the_receipt_alone(running, message: Job) -> None:
    before = await created(running, message)
    after = await updated(running, wanting(before.name, workers=2))
    assert before.receipt == after.receipt


@pytest.mark.parametrize("path", ["spec.training.epochs", "spec.resources", "labels", "state", "*"])
async def test_an_update_names_the_field_that_cannot_be_changed(
    running, message: Job, path: str
) -> None:
    name = (await created(running, message)).name
    error = await error_of(updated(running, wanting(name, workers=2), path))
    assert isinstance(error, InvalidRequest) and error.reason == "IMMUTABLE_FIELD"
    (fault,) = error.faults
    assert fault.field == "update_mask.paths[0]"
    assert fault.description.startswith(f"{path} cannot be changed: name spec.resources.workers")


async def test_an_update_tells_an_unknown_field_from_a_fixed_one(running, message: Job) -> None:
    name = (await created(running, message)).name
    faults = await faults_of(updated(running, wanting(name), "spec.resources.worker"))
    assert "Nearest: workers" in faults["update_mask.paths[0]"]


async def test_an_update_without_a_mask_may_give_the_whole_job_back(running, message: Job) -> None:
    job = await created(running, message)
    job.spec.resources.workers = 2
    assert (await updated(running, job)).spec.resources.workers == 2
    job.spec.training.epochs += 1
    job.labels["team"] = "b"
    job.spec.resources.max_failures = 3
    faults = await faults_of(updated(running, job))
    assert set(faults) == {"job.spec.training", "job.labels", "job.spec.resources.max_failures"}


@pytest.mark.parametrize(
    ("numbers", "field", "sentence"),
    [
        ({"workers": 100}, "workers", "cannot share"),
        ({"workers": -1}, "workers", "give at least 1"),
        ({"min_workers": 3}, "min_workers", "more than workers, 2"),
        ({"max_workers": 1}, "max_workers", "fewer than workers, 2"),
        ({"max_workers": 9}, "max_workers", "9 workers cannot share 8 shards"),
    ],
)
async def test_an_update_holds_the_numbers_to_each_other(
    running, message: Job, numbers: dict[str, int], field: str, sentence: str
) -> None:
    message.spec.training.shards, message.spec.resources.workers = 8, 2
    name = (await created(running, message)).name
    faults = await faults_of(updated(running, wanting(name, **numbers)))
    assert sentence in faults[f"job.spec.resources.{field}"]
    assert running.store.get(name).revision == 1


async def test_an_update_of_a_job_that_ends_names_the_state(running, message: Job) -> None:
    name = (await created(running, message)).name
    await running.stub.CancelJob(CancelJobRequest(name=name))
    error = await error_of(updated(running, wanting(name, workers=2)))
    assert isinstance(error, WrongState)
    assert error.metadata["state"] == "CANCELLING"


async def test_an_update_needs_the_name_of_a_job(running) -> None:
    assert set(await faults_of(updated(running, wanting("digits", workers=2)))) == {"job.name"}
    assert isinstance(await error_of(updated(running, wanting("jobs/none", workers=2))), NotFound)
