"""What an update asks for, and why some of it cannot be: most of a job never changes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradloom.service.api.creation import below_the_job
from gradloom.service.api.masks import wrong_path
from gradloom.service.errors import InvalidRequest, InvalidSpec, SpecFault
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.ranges import resources_faults
from gradloom.service.jobs.spec import Resources
from gradloom.service.jobs.store import ChangeResources
from gradloom.service.sentences import any_of
from gradloom.service.wire import job_to_wire
from gradloom.v1 import jobs_pb2

MUTABLE = ("workers", "min_workers", "max_workers")
_RESOURCES = "spec.resources."
_PATHS = tuple(f"{_RESOURCES}{name}" for name in MUTABLE)


def resources_change(request: jobs_pb2.UpdateJobRequest) -> ChangeResources:
    """The change of a job's resources that a request asks for.

    Raises InvalidRequest, now or when it meets the job, with all that cannot be changed.
    """
    names = _named(request)
    asked = request.job.spec.resources

    def change(job: Job) -> Resources:
        if not request.update_mask.paths:
            _refuse(_differences(request.job, job))
        wanted = {name: getattr(asked, name) for name in names}
        return _sound(replace(job.spec.resources, **wanted), job)

    return change


def _named(request: jobs_pb2.UpdateJobRequest) -> tuple[str, ...]:
    """Which numbers change: those of the mask, or those that are given."""
    paths = request.update_mask.paths
    if not paths:
        return tuple(name for name in MUTABLE if getattr(request.job.spec.resources, name))
    _refuse(_mask_faults(paths))
    return tuple(sorted({path.removeprefix(_RESOURCES) for path in paths}))


def _mask_faults(paths: Sequence[str]) -> Iterator[SpecFault]:
    for index, path in enumerate(paths):
        if path not in _PATHS:
            sentence = ("" if path == "*" else wrong_path(path)) or _immutable(path)
            yield SpecFault(f"update_mask.paths[{index}]", sentence)


def _immutable(path: str) -> str:
    return f"{path} cannot be changed: name {any_of(_PATHS)}, or submit another job."


def _differences(asked: jobs_pb2.Job, job: Job) -> Iterator[SpecFault]:
    """What a request without a mask gives otherwise than the job has it and cannot change."""
    now = job_to_wire(job)
    if asked.labels and asked.labels != now.labels:
        yield SpecFault("job.labels", _immutable("labels"))
    for field, value in asked.spec.ListFields():
        if field.name != "resources" and value != getattr(now.spec, field.name):
            yield SpecFault(f"job.spec.{field.name}", _immutable(f"spec.{field.name}"))
    for field, value in asked.spec.resources.ListFields():
        if field.name not in MUTABLE and value != getattr(now.spec.resources, field.name):
            path = f"{_RESOURCES}{field.name}"
            yield SpecFault(f"job.{path}", _immutable(path))


def _refuse(faults: Iterator[SpecFault]) -> None:
    found = tuple(faults)
    if found:
        raise InvalidRequest(found, reason="IMMUTABLE_FIELD")


def _sound(resources: Resources, job: Job) -> Resources:
    faults = below_the_job(resources_faults(resources, job.spec.training))
    if faults:
        raise InvalidSpec(faults)
    return resources
