"""A job file, YAML or JSON: its message with the place of every field, and the way back.

It is protobuf's JSON mapping of a JobSpec with the words of enums written short. Every fault is
found in one reading, with line and column.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from gradloom.service.descriptors import enum_of, is_map, short_name
from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.job_message import Position, Walk
from gradloom.service.job_text import read_nodes
from gradloom.service.wire import spec_parts
from gradloom.v1 import specs_pb2

# What a request puts before the paths of a spec.
_WRAPPING = "job.spec."
_LAST_STEP = re.compile(r'(\.[^.\[\]]*|\["(?:[^"]|"(?!\]))*"\]|\[\d+\])$')

# A value of a JSON document.
Json = Any


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job file as it was read; positions are line and column, from 1, by path in the spec.

    The message holds what is sound; faults says what is not.
    """

    name: str
    message: specs_pb2.JobSpec
    positions: Mapping[str, Position]
    faults: tuple[SpecFault, ...] = ()


def read_job_file(text: bytes, name: str) -> JobFile:
    """Reads a job file; raises InvalidSpec with all its faults."""
    read = draft_job_file(text, name)
    if read.faults:
        raise _invalid(read.faults, name)
    return read


def draft_job_file(text: bytes, name: str) -> JobFile:
    """Reads a job file as far as it is sound; raises InvalidSpec only where it is no YAML."""
    try:
        root = read_nodes(text)
    except InvalidSpec as error:
        raise _invalid(error.faults, name) from None
    walk, message = Walk(), specs_pb2.JobSpec()
    walk.message(root, message)
    _, missing = spec_parts(message)
    faults = merged(walk.faults, place(missing, walk.positions))
    return JobFile(name, message, walk.positions, faults)


def merged(first: Iterable[SpecFault], more: Iterable[SpecFault]) -> tuple[SpecFault, ...]:
    """The first faults, with those of the others that are about other fields, as they stand."""
    first = tuple(first)
    taken = {fault.field for fault in first}
    above = {path for field in taken for path in _upwards(field)}
    others = (
        fault
        for fault in more
        if fault.field not in above and taken.isdisjoint(_upwards(fault.field))
    )
    return tuple(sorted((*first, *others), key=_order))


def place(faults: Iterable[SpecFault], positions: Mapping[str, Position]) -> tuple[SpecFault, ...]:
    """Faults of the spec in a request, as faults of the file they came from."""
    return tuple(_placed(fault, positions) for fault in faults)


def write_job_file(message: specs_pb2.JobSpec) -> str:
    """A job file, in YAML, that reads as this message."""
    return yaml.safe_dump(
        json_form(message),
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=100,
    )


def json_form(message: Message) -> dict[str, Json]:
    """A message as a job file's mapping: names as in the .proto, enums short, numbers plain."""
    return {field.name: _field_form(field, value) for field, value in message.ListFields()}


def _invalid(faults: Iterable[SpecFault], name: str) -> InvalidSpec:
    error = InvalidSpec(faults)
    error.metadata["file"] = name
    return error


def _upwards(path: str) -> Iterator[str]:
    """A path and those that lead to it, the longest first."""
    while path:
        yield path
        path = _LAST_STEP.sub("", path) if _LAST_STEP.search(path) else ""


def _order(fault: SpecFault) -> tuple[bool, int, int]:
    return fault.line == 0, fault.line, fault.column


def _placed(fault: SpecFault, positions: Mapping[str, Position]) -> SpecFault:
    fault = replace(fault, field=fault.field.removeprefix(_WRAPPING))
    known = next((path for path in _upwards(fault.field) if path in positions), None)
    if fault.line or known is None:
        return fault
    line, column = positions[known]
    return replace(fault, line=line, column=column)


def _field_form(field: FieldDescriptor, value: Json) -> Json:
    if is_map(field):
        return dict(sorted(value.items()))
    if field.is_repeated:
        return [_form(field, item) for item in value]
    return _form(field, value)


def _form(field: FieldDescriptor, value: Json) -> Json:
    if isinstance(value, Duration):
        return value.ToJsonString()
    if isinstance(value, Message):
        return json_form(value)
    return short_name(enum_of(field), cast(int, value)) if field.enum_type else value
