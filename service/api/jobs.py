"""JobService: each call writes to the store or reads from it; none waits for training."""
# ruff: noqa: ARG002, N802 (names and signatures are gRPC's)

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from gradloom.service.api.changes import resources_change
from gradloom.service.api.creation import (
    Checked,
    Validate,
    Validator,
    Wanted,
    below_the_job,
    content_of,
    read_wanted,
)
from gradloom.service.api.handlers import Context
from gradloom.service.api.masks import EVERYTHING, LISTED, read_mask
from gradloom.service.api.names import checked_name
from gradloom.service.api.pages import PageTokens, page_size
from gradloom.service.api.streams import Streams
from gradloom.service.errors import Conflict, InvalidSpec, Unavailable
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.store import Clock, JobStore, Position
from gradloom.service.wire import (
    event_to_wire,
    faults_to_wire,
    job_to_wire,
    plan_to_wire,
    spec_to_wire,
)
from gradloom.v1 import jobs_pb2, jobs_pb2_grpc

SERVICE_NAME = jobs_pb2.DESCRIPTOR.services_by_name["JobService"].full_name

_HEARTBEAT_SECONDS = 10.0
_NAMES_TRIED = 5


@dataclass(frozen=True, slots=True)
class Identities:
    """Where new names come from: an id for a job's title, and a uid."""

    id_for: Callable[[str], str]
    uid: Callable[[], str]


class JobService(jobs_pb2_grpc.JobServiceServicer):
    """The calls of JobService; errors are raised as GradloomError and sent by an interceptor.

    secret signs page tokens.
    """

    def __init__(
        self,
        store: JobStore,
        validate: Validate,
        *,
        identities: Identities,
        clock: Clock,
        secret: bytes,
        heartbeat_seconds: float = _HEARTBEAT_SECONDS,
    ) -> None:
        self._store = store
        self._validator = Validator(validate)
        self._identities = identities
        self._clock = clock
        self._tokens = PageTokens(secret)
        self._streams = Streams(store, idle_seconds=heartbeat_seconds)
        self._is_draining = False

    async def ValidateJob(
        self, request: jobs_pb2.ValidateJobRequest, context: Context
    ) -> jobs_pb2.ValidateJobResponse:
        """See jobs.proto."""
        try:
            found = await self._validator.check(read_wanted(request.job))
        except InvalidSpec as error:
            return jobs_pb2.ValidateJobResponse(faults=faults_to_wire(error.faults))
        return jobs_pb2.ValidateJobResponse(
            warnings=faults_to_wire(below_the_job(found.warnings)), plan=plan_to_wire(found.plan)
        )

    async def CreateJob(
        self, request: jobs_pb2.CreateJobRequest, context: Context
    ) -> jobs_pb2.CreateJobResponse:
        """See jobs.proto."""
        self._refuse_while_draining()
        wanted = read_wanted(request.job, request.request_id)
        content = content_of(wanted)
        # A repeated request gets its job even where the data has gone since.
        job = await self._made_before(request.request_id, content)
        if job is None:
            found = await self._validator.check(wanted)
            if request.validate_only:
                return jobs_pb2.CreateJobResponse(job=_job_to_be(wanted, found))
            job = await asyncio.to_thread(self._create, wanted, found, request.request_id, content)
        return jobs_pb2.CreateJobResponse(job=job_to_wire(job))

    async def GetJob(
        self, request: jobs_pb2.GetJobRequest, context: Context
    ) -> jobs_pb2.GetJobResponse:
        """See jobs.proto."""
        mask = read_mask(request.read_mask, EVERYTHING)
        job = await asyncio.to_thread(self._store.get, checked_name(request.name))
        return jobs_pb2.GetJobResponse(job=mask.of(job_to_wire(job)))

    async def ListJobs(
        self, request: jobs_pb2.ListJobsRequest, context: Context
    ) -> jobs_pb2.ListJobsResponse:
        """See jobs.proto."""
        size = page_size(request.page_size)
        mask = read_mask(request.read_mask, LISTED)
        query = ",".join(mask.paths)
        after = self._tokens.position(request.page_token, query)
        # One more than wanted tells whether another page follows.
        jobs = await asyncio.to_thread(self._store.list, size + 1, after)
        response = jobs_pb2.ListJobsResponse()
        response.jobs.extend(mask.of(job_to_wire(job)) for job in jobs[:size])
        if len(jobs) > size:
            last = jobs[size - 1]
            position = Position(last.create_time, last.name)
            response.next_page_token = self._tokens.token(position, query)
        return response

    async def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[jobs_pb2.WatchJobResponse]:
        """See jobs.proto."""
        revision = request.after_revision
        events = self._streams.follow(checked_name(request.name), revision)
        async with aclosing(events):
            async for record in events:
                if record is None:
                    yield self._heartbeat(revision)
                else:
                    revision = record.revision
                    yield event_to_wire(record)

    async def CancelJob(
        self, request: jobs_pb2.CancelJobRequest, context: Context
    ) -> jobs_pb2.CancelJobResponse:
        """See jobs.proto."""
        job = await asyncio.to_thread(self._store.cancel, checked_name(request.name))
        return jobs_pb2.CancelJobResponse(job=job_to_wire(job))

    async def UpdateJob(
        self, request: jobs_pb2.UpdateJobRequest, context: Context
    ) -> jobs_pb2.UpdateJobResponse:
        """See jobs.proto."""
        name = checked_name(request.job.name, "job.name")
        change = resources_change(request)
        job = await asyncio.to_thread(self._store.change_resources, name, change)
        return jobs_pb2.UpdateJobResponse(job=job_to_wire(job))

    @property
    def watched(self) -> frozenset[str]:
        """Names of the jobs that have streams now."""
        return self._streams.watched

    def drain(self) -> None:
        """Takes no more jobs and ends all streams, with UNAVAILABLE."""
        self._is_draining = True
        self._streams.drain()

    def close(self) -> None:
        """Lets go of the store and of threads."""
        self._streams.close()
        self._validator.close()

    async def _made_before(self, request_id: str, content: str) -> Job | None:
        if not (request_id and content):
            return None
        return await asyncio.to_thread(self._store.requested, request_id, content)

    def _create(self, wanted: Wanted, found: Checked, request_id: str, content: str) -> Job:
        for _ in range(_NAMES_TRIED - 1):
            try:
                return self._create_once(wanted, found, request_id, content)
            except Conflict:
                continue
        return self._create_once(wanted, found, request_id, content)

    def _create_once(self, wanted: Wanted, found: Checked, request_id: str, content: str) -> Job:
        now = self._clock()
        job = Job(
            name=f"jobs/{self._identities.id_for(found.spec.name)}",
            uid=self._identities.uid(),
            spec=found.spec,
            labels=wanted.labels,
            plan=found.plan,
            receipt=found.receipt,
            create_time=now,
            update_time=now,
        )
        return self._store.create(job, request_id=request_id, content=content)

    def _heartbeat(self, revision: int) -> jobs_pb2.WatchJobResponse:
        heartbeat = jobs_pb2.WatchJobResponse(revision=revision, heartbeat=jobs_pb2.Heartbeat())
        heartbeat.event_time.FromDatetime(self._clock())
        return heartbeat

    def _refuse_while_draining(self) -> None:
        if self._is_draining:
            raise Unavailable("The service is going down: try again soon.", reason="DRAINING")


def _job_to_be(wanted: Wanted, found: Checked) -> jobs_pb2.Job:
    """What the job would be: a plan, and no name."""
    return jobs_pb2.Job(
        display_name=found.spec.name,
        spec=spec_to_wire(found.spec),
        labels=dict(wanted.labels),
        plan=plan_to_wire(found.plan),
    )
