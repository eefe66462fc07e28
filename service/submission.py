"""A job as its user gives it (path, dict, message or spec), made into the message that is sent."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.job_file import JobFile, draft_job_file, merged, place
from gradloom.service.jobs.spec import JobSpec
from gradloom.service.wire import spec_to_wire
from gradloom.v1 import specs_pb2

# A str is a path.
Spec = str | PathLike[str] | Mapping[str, object] | specs_pb2.JobSpec | JobSpec

# What a request puts before the paths of a spec.
_WRAPPINGS = ("job.spec.", "job.")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to send, and the file it came from, if it came from one.

    The faults are those of its form; the message then holds what is sound.
    """

    message: specs_pb2.JobSpec
    file: JobFile | None = None
    faults: tuple[SpecFault, ...] = ()

    def with_workers(self, workers: int | None) -> "Submission":
        """The same job on another number of workers; None leaves it as it is."""
        if workers is None:
            return self
        message = specs_pb2.JobSpec()
        message.CopyFrom(self.message)
        message.resources.workers = workers
        return replace(self, message=message)

    def all_faults(self, faults: Iterable[SpecFault]) -> tuple[SpecFault, ...]:
        """The faults of its form and those of a check, with line and column in the file."""
        return merged(self.faults, self.located(faults))

    def located(self, faults: Iterable[SpecFault]) -> tuple[SpecFault, ...]:
        """Faults of a request as faults of the spec, with line and column in the file."""
        unwrapped = [replace(fault, field=_unwrapped(fault.field)) for fault in faults]
        return place(unwrapped, self.file.positions if self.file else {})

    def refusal(self, faults: Iterable[SpecFault]) -> InvalidSpec:
        """The error that says all its faults, those of its form and those of a check."""
        error = InvalidSpec(self.all_faults(faults))
        if self.file:
            error.metadata["file"] = self.file.name
        return error


def read_submission(spec: Spec) -> Submission:
    """Reads a spec in any of its forms; raises InvalidSpec where nothing in it can be read."""
    match spec:
        case specs_pb2.JobSpec():
            return Submission(spec)
        case JobSpec():
            return Submission(spec_to_wire(spec))
        case Mapping():
            return _from_mapping(spec)
        case _:
            return _from_file(Path(spec))


def _from_mapping(spec: Mapping[str, object]) -> Submission:
    try:
        text = json.dumps(dict(spec), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        fault = SpecFault("$", f"The dict cannot be written as JSON: {error}.")
        raise InvalidSpec([fault]) from None
    read = draft_job_file(text.encode(), "dict")
    # Lines and columns of a text the user never saw help nobody.
    faults = tuple(replace(fault, line=0, column=0) for fault in read.faults)
    return Submission(read.message, faults=faults)


def _from_file(path: Path) -> Submission:
    read = draft_job_file(_bytes_of(path), str(path))
    return Submission(read.message, read, read.faults)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        sentence = f"There is no file {path}."
    except OSError as error:
        sentence = f"{path} cannot be read: {error.strerror}."
    except ValueError:
        sentence = "The file's name holds a NUL character."
    raise InvalidSpec([SpecFault("$", sentence)])


def _unwrapped(path: str) -> str:
    return next((path.removeprefix(word) for word in _WRAPPINGS if path.startswith(word)), path)
