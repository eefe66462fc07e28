"""The client: jobs over gRPC, in the words of the domain."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar
from uuid import uuid4

import grpc
from google.protobuf.message import Message

from gradloom.service.api.channel import CLIENT_OPTIONS
from gradloom.service.api.status import error_from_call
from gradloom.service.errors import (
    GradloomError,
    InvalidSpec,
    JobCancelled,
    JobFailed,
    SpecFault,
    Unavailable,
)
from gradloom.service.jobs.job import Job, Plan
from gradloom.service.jobs.states import State
from gradloom.service.submission import Spec, Submission, read_submission
from gradloom.service.watching import Event as Event
from gradloom.service.watching import Responses, resumed
from gradloom.service.wire import faults_from_wire, job_from_wire, plan_from_wire
from gradloom.v1 import jobs_pb2, jobs_pb2_grpc

DEFAULT_ADDRESS = "localhost:50051"
PAGE_SIZE = 50

# Fields of a job that can be large and that a list does without.
_NOT_LISTED = {"plan", "transitions"}
_LISTED = [field.name for field in jobs_pb2.Job.DESCRIPTOR.fields if field.name not in _NOT_LISTED]

_UNARY = ("ValidateJob", "CreateJob", "GetJob", "ListJobs", "CancelJob", "UpdateJob")
# Only UNAVAILABLE is retried: the call was not carried out, or a request id makes it harmless.
_RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "gradloom.v1.JobService", "method": name} for name in _UNARY],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Validation:
    """What would come of a spec; the plan is None where there are faults."""

    faults: tuple[SpecFault, ...]
    warnings: tuple[SpecFault, ...]
    plan: Plan | None


class Client:
    """A connection to a service; safe to share between threads, and to be closed.

    The address is the argument, or GRADLOOM_ADDRESS, or localhost:50051. `timeout` bounds each
    call in seconds; `patience` how long a stream that broke tries to come back. A job is given
    as a Job, as jobs/ID or as ID. Every error is a GradloomError.
    """

    def __init__(
        self, address: str | None = None, *, timeout: float = 60.0, patience: float = 60.0
    ) -> None:
        self.address = address or os.environ.get("GRADLOOM_ADDRESS") or DEFAULT_ADDRESS
        self._timeout = timeout
        self._patience = patience
        options = [*CLIENT_OPTIONS, ("grpc.service_config", json.dumps(_RETRIES))]
        self._channel = grpc.insecure_channel(self.address, options=options)
        self._jobs = jobs_pb2_grpc.JobServiceStub(self._channel)

    def validate(self, spec: Spec) -> Validation:
        """Says everything that is wrong with a spec, or what it would come to."""
        try:
            return self.validate_prepared(read_submission(spec))
        except InvalidSpec as error:
            return Validation(error.faults, (), None)

    def validate_prepared(self, submission: Submission) -> Validation:
        """The same for a spec that was read already."""
        request = jobs_pb2.ValidateJobRequest(job=jobs_pb2.Job(spec=submission.message))
        response = self._call(self._jobs.ValidateJob, request)
        faults = submission.all_faults(faults_from_wire(response.faults))
        return Validation(
            faults=faults,
            warnings=submission.located(faults_from_wire(response.warnings)),
            plan=plan_from_wire(response.plan) if not faults else None,
        )

    def submit(
        self,
        spec: Spec,
        *,
        workers: int | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Creates a job; `workers` overrides the spec's. The same request id gives the same job.

        Raises InvalidSpec with every fault, AlreadyExists for a request id of another job.
        """
        submission = read_submission(spec).with_workers(workers)
        return self.submit_prepared(submission, labels=labels, request_id=request_id)

    def submit_prepared(
        self,
        submission: Submission,
        *,
        labels: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Creates a job from a spec that was read already."""
        if submission.faults:
            raise submission.refusal(self._faults(submission))
        request = jobs_pb2.CreateJobRequest(
            job=jobs_pb2.Job(spec=submission.message, labels=labels),
            request_id=request_id or str(uuid4()),
        )
        try:
            return job_from_wire(self._call(self._jobs.CreateJob, request).job)
        except InvalidSpec as error:
            refusal = submission.refusal(self._completed(error.faults, submission))
            refusal.request_id = error.request_id
            raise refusal from None

    def get(self, job: Job | str) -> Job:
        """The job as it is now; raises NotFound."""
        request = jobs_pb2.GetJobRequest(name=job_name(job))
        return job_from_wire(self._call(self._jobs.GetJob, request).job)

    def list(self) -> Iterator[Job]:
        """All jobs, newest first, without plan and transitions; reads page by page."""
        token = ""
        while True:
            request = jobs_pb2.ListJobsRequest(page_size=PAGE_SIZE, page_token=token)
            request.read_mask.paths.extend(_LISTED)
            page = self._call(self._jobs.ListJobs, request)
            yield from map(job_from_wire, page.jobs)
            token = page.next_page_token
            if not token:
                return

    def cancel(self, job: Job | str) -> Job:
        """Asks for the job to end; raises WrongState where it has ended otherwise."""
        request = jobs_pb2.CancelJobRequest(name=job_name(job))
        return job_from_wire(self._call(self._jobs.CancelJob, request).job)

    def update(
        self,
        job: Job | str,
        *,
        workers: int | None = None,
        min_workers: int | None = None,
        max_workers: int | None = None,
    ) -> Job:
        """Changes how many workers the job may have; what is None stays as it is.

        0 for a bound is as many as `workers`. The result has the same bits. Raises InvalidSpec
        where the numbers do not agree, WrongState once the job ends.
        """
        numbers = {"workers": workers, "min_workers": min_workers, "max_workers": max_workers}
        given = {name: number for name, number in numbers.items() if number is not None}
        if not given:
            return self.get(job)
        request = jobs_pb2.UpdateJobRequest(job=jobs_pb2.Job(name=job_name(job)))
        for name, number in given.items():
            setattr(request.job.spec.resources, name, number)
            request.update_mask.paths.append(f"spec.resources.{name}")
        return job_from_wire(self._call(self._jobs.UpdateJob, request).job)

    def watch(
        self, job: Job | str, after_revision: int = 0, *, timeout: float | None = None
    ) -> Iterator[Event]:
        """The job's events from the beginning, or after a revision, to its end.

        Comes back by itself where the connection breaks, and repeats nothing. Raises TimedOut
        after `timeout` seconds, Unavailable where the service stays away.
        """
        name = job_name(job)
        end = None if timeout is None else time.monotonic() + timeout
        return resumed(
            lambda after: self._stream(name, after, end),
            after_revision,
            patience=self._patience if timeout is None else min(timeout, self._patience),
            pause=time.sleep,
            draw=random.random,
        )

    def wait(self, job: Job | str, *, timeout: float | None = None) -> Job:
        """The job once it has SUCCEEDED; raises JobFailed, JobCancelled, TimedOut.

        Ctrl-C ends the wait and leaves the job alone.
        """
        try:
            for _ in self.watch(job, timeout=timeout):
                pass
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(f"{job_name(job)} goes on: client.cancel() ends it.")
            raise
        return raised_for_outcome(self.get(job))

    def close(self) -> None:
        """Ends the connection, and the streams over it."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Response], request: Message) -> Response:
        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise error_from_call(error, self.address) from None

    def _stream(self, name: str, after_revision: int, end: float | None) -> Responses:
        request = jobs_pb2.WatchJobRequest(name=name, after_revision=after_revision)
        timeout = None if end is None else max(0.0, end - time.monotonic())
        call = self._jobs.WatchJob(request, timeout=timeout)
        try:
            yield from call
        except grpc.RpcError as error:
            raise error_from_call(error, self.address) from None
        finally:
            call.cancel()

    def _completed(
        self, faults: tuple[SpecFault, ...], submission: Submission
    ) -> tuple[SpecFault, ...]:
        """All faults: where an error had no room for more over the wire, the rest is asked for."""
        is_complete = all(fault.field for fault in faults)
        return faults if is_complete else self._faults(submission) or faults

    def _faults(self, submission: Submission) -> tuple[SpecFault, ...]:
        """What the service has against a spec; nothing where it cannot be asked."""
        try:
            return self.validate_prepared(submission).faults
        except Unavailable:
            return ()


def job_name(job: Job | str) -> str:
    """The full name of a job given as a Job, as jobs/ID or as ID."""
    if isinstance(job, Job):
        return job.name
    return job if job.startswith("jobs/") else f"jobs/{job}"


_OUTCOMES: dict[State, Callable[..., GradloomError]] = {
    State.FAILED: JobFailed,
    State.CANCELLED: JobCancelled,
}


def raised_for_outcome(job: Job) -> Job:
    """The job, unless it FAILED or was CANCELLED, which raises JobFailed or JobCancelled."""
    if job.state not in _OUTCOMES:
        return job
    raise _OUTCOMES[job.state](
        f"{job.id} is {job.state}: {job.message or job.reason}",
        reason=str(job.reason),
        metadata={"name": job.name, "state": str(job.state)},
    )
