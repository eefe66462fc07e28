"""Between wire and domain: every message that is read or sent passes through here.

A change of state crosses the wire as the whole job it led to; what a spec leaves out is written
out with its default.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from datetime import UTC

from google.protobuf.message import DecodeError, Message

from gradloom.service.errors import InvalidRequest, InvalidSpec, SpecFault
from gradloom.service.jobs.job import (
    Checkpoint,
    CheckpointWritten,
    Diagnosed,
    Diagnosis,
    Event,
    IncidentHappened,
    Job,
    Plan,
    Progress,
    Progressed,
    Recorded,
    ResourcesChanged,
    StateChanged,
)
from gradloom.service.jobs.spec import JobSpec, Resources
from gradloom.service.mapping import AnyMessage, Reading, Record, Value, written
from gradloom.v1 import jobs_pb2, specs_pb2
from gradloom.worker.engine.spec import Layer, Model, Relu, Residual


def spec_to_wire(spec: JobSpec) -> specs_pb2.JobSpec:
    """The message of a spec."""
    return written(specs_pb2.JobSpec(), spec)


def spec_from_wire(message: specs_pb2.JobSpec) -> JobSpec:
    """The spec of a message; raises InvalidSpec with all that is missing or unknown in it."""
    parts, faults = spec_parts(message)
    if faults:
        raise InvalidSpec(faults)
    return JobSpec(**parts)


def spec_parts(message: specs_pb2.JobSpec) -> tuple[dict[str, Value], tuple[SpecFault, ...]]:
    """The fields of a JobSpec that can be read, and the faults of those that cannot."""
    whole = Reading([], is_strict=True)
    whole.refuse_unknown(message, "")
    parts: dict[str, Value] = {}
    for field in fields(JobSpec):
        reading = Reading([], is_strict=True)
        value = reading.field(JobSpec, field, message)
        whole.faults.extend(reading.faults)
        if not reading.faults:
            parts[field.name] = value
    return parts, tuple(whole.faults)


def model_sketch(message: specs_pb2.ModelSpec) -> Model:
    """The model of a message with something harmless in place of layers that cannot be read.

    It is for finding what is wrong with the other layers, each at its own index.
    """
    model = Reading([], is_strict=False).record(Model, message)
    nodes = tuple(replace(node, layers=_sketched(node.layers)) for node in model.nodes)
    return replace(model, layers=_sketched(model.layers), nodes=nodes)


def _sketched(layers: Iterable[Layer | None]) -> tuple[Layer, ...]:
    return tuple(
        Residual(_sketched(layer.layers), _sketched(layer.shortcut))
        if isinstance(layer, Residual)
        else layer or Relu()
        for layer in layers
    )


def job_to_wire(job: Job) -> jobs_pb2.Job:
    """The message of a job."""
    return written(jobs_pb2.Job(display_name=job.spec.name), job)


def job_from_wire(message: jobs_pb2.Job) -> Job:
    """The job of a message; raises InvalidRequest where it is not one."""
    return _read(Job, message)


def labels_from_wire(message: jobs_pb2.Job) -> tuple[tuple[str, str], ...]:
    """The labels of a job, by key."""
    return tuple(sorted(message.labels.items()))


def plan_to_wire(plan: Plan) -> jobs_pb2.Plan:
    """The message of a plan."""
    return written(jobs_pb2.Plan(), plan)


def plan_from_wire(message: jobs_pb2.Plan) -> Plan:
    """The plan of a message; raises InvalidRequest where it is not one."""
    return _read(Plan, message)


def faults_to_wire(faults: Iterable[SpecFault]) -> list[jobs_pb2.Fault]:
    """The messages of faults; line and column stay behind."""
    return [jobs_pb2.Fault(field=fault.field, description=fault.description) for fault in faults]


def faults_from_wire(messages: Iterable[jobs_pb2.Fault]) -> tuple[SpecFault, ...]:
    """The faults of messages."""
    return tuple(SpecFault(message.field, message.description) for message in messages)


def event_to_wire(recorded: Recorded) -> jobs_pb2.WatchJobResponse:
    """The message of an event; a change of state must have been recorded with its job."""
    message = jobs_pb2.WatchJobResponse(revision=recorded.revision)
    message.event_time.FromDatetime(recorded.time)
    match recorded.event:
        case StateChanged():
            message.job.CopyFrom(job_to_wire(_job_of(recorded)))
        case Progressed(progress):
            written(message.progress, progress)
        case CheckpointWritten(checkpoint):
            written(message.checkpoint, checkpoint)
        case IncidentHappened() as incident:
            written(message.incident, incident)
        case Diagnosed(diagnosis):
            written(message.diagnosis, diagnosis)
        case ResourcesChanged(resources):
            written(message.resources, resources)
    return message


def event_from_wire(message: jobs_pb2.WatchJobResponse) -> Recorded | None:
    """The event of a message; None for a heartbeat."""
    kind = message.WhichOneof("event")
    if kind is None or kind == "heartbeat":
        return None
    time = message.event_time.ToDatetime(tzinfo=UTC)
    if kind == "job":
        job = job_from_wire(message.job)
        change = StateChanged(job.state, job.reason, job.message)
        return Recorded(message.revision, time, change, job)
    return Recorded(message.revision, time, _EVENTS[kind](getattr(message, kind)))


def job_bytes(job: Job) -> bytes:
    """A job as bytes, for the store."""
    return job_to_wire(job).SerializeToString(deterministic=True)


def job_from_bytes(data: bytes) -> Job:
    """The job of its bytes; raises InvalidRequest where they are not a job's."""
    return job_from_wire(_parsed(jobs_pb2.Job(), data))


def event_bytes(recorded: Recorded) -> bytes:
    """An event of a job's history as bytes, for the store."""
    return event_to_wire(recorded).SerializeToString(deterministic=True)


def event_from_bytes(data: bytes) -> Recorded:
    """The event of its bytes; raises InvalidRequest where they are not an event's."""
    recorded = event_from_wire(_parsed(jobs_pb2.WatchJobResponse(), data))
    if recorded is None:
        raise _unreadable([SpecFault("event", "The bytes hold no event.")])
    return recorded


def metrics_in(data: bytes) -> int | None:
    """How many metrics a sample of progress has; None where bytes are those of another event.

    That is sooner told than all it says.
    """
    try:
        event = jobs_pb2.WatchJobResponse.FromString(data)
    except DecodeError:
        return None
    return len(event.progress.metrics) if event.HasField("progress") else None


def _job_of(recorded: Recorded) -> Job:
    if recorded.job is None:
        raise ValueError(f"Event {recorded.revision} is a change of state: record its job too")
    return recorded.job


def _parsed(message: AnyMessage, data: bytes) -> AnyMessage:
    try:
        message.ParseFromString(data)
    except DecodeError:
        name = message.DESCRIPTOR.full_name
        raise _unreadable([SpecFault("$", f"The bytes are not a {name}.")]) from None
    return message


def _read(kind: type[Record], message: Message) -> Record:
    """The dataclass of a message of this or a later version."""
    reading = Reading([], is_strict=False)
    record = reading.record(kind, message)
    if reading.faults:
        raise _unreadable(reading.faults)
    return record


def _unreadable(faults: Iterable[SpecFault]) -> InvalidRequest:
    return InvalidRequest(faults, reason="MESSAGE_UNREADABLE")


_EVENTS: dict[str, Callable[[Message], Event]] = {
    "progress": lambda message: Progressed(_read(Progress, message)),
    "checkpoint": lambda message: CheckpointWritten(_read(Checkpoint, message)),
    "incident": lambda message: _read(IncidentHappened, message),
    "diagnosis": lambda message: Diagnosed(_read(Diagnosis, message)),
    "resources": lambda message: ResourcesChanged(_read(Resources, message)),
}
