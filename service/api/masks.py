"""Read masks: which fields of a Job an answer has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask

from gradloom.service.errors import InvalidRequest, SpecFault
from gradloom.service.sentences import nearest, quoted
from gradloom.v1 import jobs_pb2

_JOB = jobs_pb2.Job.DESCRIPTOR


@dataclass(frozen=True, slots=True)
class Mask:
    """Paths of fields of a Job, in order; no path means all fields."""

    paths: tuple[str, ...] = ()

    def of(self, job: jobs_pb2.Job) -> jobs_pb2.Job:
        """The job with nothing but these fields."""
        if not self.paths:
            return job
        masked = jobs_pb2.Job()
        FieldMask(paths=self.paths).MergeMessage(job, masked)
        return masked


EVERYTHING = Mask()
# Spec, plan and transitions can be large, and a list has many jobs.
LISTED = Mask(
    tuple(
        sorted(
            field.name for field in _JOB.fields if field.name not in ("spec", "plan", "transitions")
        )
    )
)


def read_mask(message: FieldMask, default: Mask) -> Mask:
    """The mask of a request, the default where it has none; InvalidRequest for unknown paths."""
    faults = tuple(_faults(message.paths))
    if faults:
        raise InvalidRequest(faults, reason="INVALID_MASK")
    if "*" in message.paths:
        return EVERYTHING
    return Mask(tuple(sorted(set(message.paths)))) if message.paths else default


def _faults(paths: Sequence[str]) -> Iterator[SpecFault]:
    for index, path in enumerate(paths):
        sentence = "" if path == "*" else wrong_path(path)
        if sentence:
            yield SpecFault(f"read_mask.paths[{index}]", sentence)


def wrong_path(path: str) -> str:
    """What is wrong with a path in a Job; nothing if nothing is."""
    message: Descriptor | None = _JOB
    before = "Job"
    for word in path.split("."):
        if message is None:
            return f"{before} has no fields of its own that a mask can name: end the path there."
        if word not in message.fields_by_name:
            return _unknown(before, word, message)
        field = message.fields_by_name[word]
        message = _inside(field)
        before = word
    return ""


def _inside(field: FieldDescriptor) -> Descriptor | None:
    """The message a path can go on into: not into the items of a list or a map."""
    return None if field.is_repeated else field.message_type


def _unknown(before: str, word: str, message: Descriptor) -> str:
    near = nearest(word, message.fields_by_name)
    remedy = f"Nearest: {near}." if near else f"It has {', '.join(message.fields_by_name)}."
    return f"{before} has no field {quoted(word)}. {remedy}"
