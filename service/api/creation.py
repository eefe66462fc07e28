"""What a request to validate or create a job asks for, and what of that is wrong."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.jobs.job import Plan, Receipt
from gradloom.service.jobs.naming import label_faults, request_id_faults
from gradloom.service.jobs.spec import JobSpec
from gradloom.service.wire import labels_from_wire, spec_from_wire, spec_to_wire
from gradloom.v1 import jobs_pb2, specs_pb2

# Validations at once; the others wait.
_THREADS = 2


class Checked(Protocol):
    """A spec without faults, and what it comes to."""

    @property
    def spec(self) -> JobSpec: ...
    @property
    def plan(self) -> Plan: ...
    @property
    def receipt(self) -> Receipt: ...
    @property
    def warnings(self) -> tuple[SpecFault, ...]: ...


# Reads a spec and the data it names; raises InvalidSpec with every fault, by its path in the spec.
Validate = Callable[[specs_pb2.JobSpec], Checked]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of a job that its user decides, and the faults that are not the spec's."""

    spec: specs_pb2.JobSpec
    labels: tuple[tuple[str, str], ...]
    faults: tuple[SpecFault, ...]


def read_wanted(job: jobs_pb2.Job, request_id: str = "") -> Wanted:
    """What is wanted, as far as it can be told without the data."""
    labels = labels_from_wire(job)
    faults = _below("job.", label_faults(labels))
    return Wanted(job.spec, labels, (*request_id_faults(request_id), *faults))


def content_of(wanted: Wanted) -> str:
    """A hash, the same for requests that want the same job; empty where no job can come of it."""
    if wanted.faults:
        return ""
    try:
        spec = spec_to_wire(spec_from_wire(wanted.spec))
    except InvalidSpec:
        return ""
    message = jobs_pb2.Job(spec=spec, labels=dict(wanted.labels))
    return sha256(message.SerializeToString(deterministic=True)).hexdigest()


class Validator:
    """Looks at specs and their data in threads of its own, since a data file can be large."""

    def __init__(self, validate: Validate) -> None:
        self._validate = validate
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="validation")

    async def check(self, wanted: Wanted) -> Checked:
        """What the spec comes to; InvalidSpec with every fault, by its path in a request."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._validate, wanted.spec)
        except InvalidSpec as error:
            raise InvalidSpec((*wanted.faults, *below_the_job(error.faults))) from None
        if wanted.faults:
            raise InvalidSpec(wanted.faults)
        return found

    def close(self) -> None:
        """Lets the threads go; checks under way are waited for."""
        self._threads.shutdown(cancel_futures=True)


def below_the_job(faults: Iterable[SpecFault]) -> tuple[SpecFault, ...]:
    """The faults of a spec with their paths in a request: job.spec.training.epochs."""
    return _below("job.spec.", faults)


def _below(path: str, faults: Iterable[SpecFault]) -> tuple[SpecFault, ...]:
    return tuple(replace(fault, field=(path + fault.field).rstrip(".")) for fault in faults)
