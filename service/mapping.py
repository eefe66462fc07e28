"""From a dataclass to the message with the same fields and back: one walk each way.

Reading is strict (for specs: an option that is not known may not be dropped) or not (for what a
newer service says).
"""

from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from importlib.metadata import version
from threading import Lock
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_type_hints

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from gradloom.service.descriptors import (
    KINDS,
    ONEOF,
    descriptor_of,
    enum_of,
    enum_prefix,
    is_choice,
    is_map,
    missing_sentence,
    short_names,
)
from gradloom.service.errors import SpecFault
from gradloom.service.jobs.job import Job, Plan, Transition
from gradloom.service.jobs.spec import JobSpec, Resources
from gradloom.service.sentences import any_of
from gradloom.v1 import jobs_pb2, specs_pb2

# Where a dataclass calls a field something else than the wire.
WIRE_NAMES: dict[tuple[type, str], str] = {
    (Transition, "time"): "transition_time",
    (Job, "measured"): "metrics",
}

# Numbers without presence on the wire, whose 0 stands for a default that is not 0.
ZERO_IS_LEFT_OUT: frozenset[tuple[type, str]] = frozenset({(Resources, "workers")})

# What a job has from its beginning on, and all of its many messages hold: walked through once.
_LASTING: dict[type, type[Message]] = {JobSpec: specs_pb2.JobSpec, Plan: jobs_pb2.Plan}
_MOST_LASTING = 64

_WORDS: dict[type, str] = {kind: word for words in KINDS.values() for word, kind in words.items()}

# Values of fields, of as many types as there are fields.
Value = Any
Record = TypeVar("Record")
AnyMessage = TypeVar("AnyMessage", bound=Message)


def wire_name(kind: type, name: str) -> str:
    """What the wire calls a field of a dataclass."""
    return WIRE_NAMES.get((kind, name), name)


@cache
def hints(kind: type) -> dict[str, Value]:
    """The types of a dataclass's fields."""
    return get_type_hints(kind)


def alternatives(hint: Value) -> tuple[Value, ...]:
    """The types a hint allows, less None."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return tuple(kind for kind in kinds if kind is not NoneType)


def written(message: AnyMessage, value: Value) -> AnyMessage:
    """The message, filled from a dataclass; from a member of a union where it is a choice."""
    if type(value) in _WORDS and is_choice(descriptor_of(message)):
        _write_choice(message, value)
        return message
    for field in fields(value):
        _write_field(message, wire_name(type(value), field.name), getattr(value, field.name))
    return message


def _write_choice(message: Message, value: Value) -> None:
    chosen = getattr(message, _WORDS[type(value)])
    chosen.SetInParent()
    written(chosen, value)


def _write_field(message: Message, name: str, value: Value) -> None:
    if value is None:
        return
    if name == ONEOF and is_choice(descriptor_of(message)):
        _write_choice(message, value)
        return
    descriptor = descriptor_of(message).fields_by_name[name]
    if is_map(descriptor):
        getattr(message, name).update(dict(value))
    elif descriptor.is_repeated:
        _write_items(getattr(message, name), value)
    elif descriptor.message_type:
        _write_message(getattr(message, name), value)
    else:
        setattr(message, name, _scalar(descriptor, value))


def _write_items(items: Value, values: Iterable[Value]) -> None:
    for value in values:
        if isinstance(value, (str, int, float)):
            items.append(value)
        else:
            written(items.add(), value)


def _write_message(message: Message, value: Value) -> None:
    message.SetInParent()
    match message:
        case Timestamp():
            message.FromDatetime(value)
        case Duration():
            message.FromNanoseconds(round(value * 1e9))
        case _ if type(value) in _LASTING:
            _written_before.write(message, value)
        case _:
            written(message, value)


class _Written:
    """Messages by the very object: two that are equal may differ in the sign of a zero."""

    def __init__(self) -> None:
        self._messages: dict[int, tuple[Value, Message]] = {}
        self._lock = Lock()

    def write(self, message: Message, value: Value) -> None:
        """Fills a message from a value that does not change."""
        kept, before = self._messages.get(id(value), (None, message))
        if kept is value:
            message.CopyFrom(before)
            return
        written(message, value)
        copy = type(message)()
        copy.CopyFrom(message)
        with self._lock:
            self._messages[id(value)] = value, copy
            if len(self._messages) > _MOST_LASTING:
                del self._messages[next(iter(self._messages))]


_written_before = _Written()


def _scalar(descriptor: FieldDescriptor, value: Value) -> Value:
    if isinstance(value, StrEnum):
        enum = enum_of(descriptor)
        return enum.values_by_name[enum_prefix(enum) + value.name].number
    return value


@dataclass(frozen=True, slots=True)
class Reading:
    """One walk over a message, which adds the faults it meets; None stands where one is."""

    faults: list[SpecFault]
    is_strict: bool

    def record(self, kind: type[Record], message: Message, path: str = "") -> Record:
        """The dataclass of a message."""
        self.refuse_unknown(message, path)
        values = {
            field.name: self.field(kind, field, message, path)
            for field in fields(cast(Value, kind))
        }
        return kind(**values)

    def field(self, kind: type, field: Field[Value], message: Message, path: str = "") -> Value:
        """The value of one field of a dataclass."""
        name = wire_name(kind, field.name)
        if name == ONEOF and is_choice(descriptor_of(message)):
            may_be_none = field.default is None and message.WhichOneof(ONEOF) is None
            return None if may_be_none else self._choice(message, path)
        descriptor = descriptor_of(message).fields_by_name[name]
        path = f"{path}.{name}" if path else name
        if is_map(descriptor):
            return tuple(sorted(getattr(message, name).items()))
        if descriptor.is_repeated:
            return self._items(get_args(hints(kind)[field.name])[0], getattr(message, name), path)
        if _is_left_out(kind, descriptor, message):
            return self._default(field, path)
        return self._value(hints(kind)[field.name], descriptor, getattr(message, name), path)

    def refuse_unknown(self, message: Message, path: str) -> None:
        """Adds a fault for every field that this version has no name for, if strict."""
        for number in self._unknown(message):
            self._add(
                path or "$",
                f"Field {number} of {path or 'the job'} is not known to gradloom {_version()}: "
                "upgrade the service or leave the field out.",
            )

    def _value(self, hint: Value, descriptor: FieldDescriptor, value: Value, path: str) -> Value:
        if descriptor.enum_type:
            return self._word(alternatives(hint)[0], descriptor, value, path)
        match value:
            case Timestamp():
                return self._time(value, path)
            case Duration():
                return value.ToNanoseconds() / 1e9
            case Message():
                return self._message(hint, value, path)
        return value

    def _message(self, hint: Value, message: Message, path: str) -> Value:
        kinds = alternatives(hint)
        if len(kinds) == 1:
            known = None if self.is_strict else _read_before(kinds[0], message)
            return known or self.record(kinds[0], message, path)
        self.refuse_unknown(message, path)
        return self._choice(message, path)

    def _items(self, hint: Value, items: Iterable[Value], path: str) -> tuple[Value, ...]:
        return tuple(
            self._message(hint, item, f"{path}[{index}]") if isinstance(item, Message) else item
            for index, item in enumerate(items)
        )

    def _choice(self, message: Message, path: str) -> Value:
        """The member of a union that the message's oneof names."""
        word = message.WhichOneof(ONEOF)
        if word is None:
            if not self._unknown(message):
                self._add(path, missing_sentence(path))
            return None
        kind = KINDS[descriptor_of(message).name][word]
        return self.record(kind, getattr(message, word), f"{path}.{word}")

    def _word(self, kind: Value, descriptor: FieldDescriptor, number: int, path: str) -> Value:
        """The member of a StrEnum for an enum's number."""
        enum = enum_of(descriptor)
        if number in enum.values_by_number:
            return kind[enum.values_by_number[number].name.removeprefix(enum_prefix(enum))]
        self._add(
            path,
            f"{descriptor.name} {number} is not known to gradloom {_version()}: "
            f"use {any_of(short_names(enum))}.",
        )
        return None

    def _time(self, value: Timestamp, path: str) -> datetime | None:
        """The aware time in UTC."""
        try:
            return value.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError):
            self._add(path, "This time lies outside the years 1 to 9999.")
            return None

    def _default(self, field: Field[Value], path: str) -> Value:
        """What stands for a field that was left out."""
        if field.default is not MISSING:
            return field.default
        if field.default_factory is not MISSING:
            return field.default_factory()
        self._add(path, missing_sentence(path))
        return None

    def _unknown(self, message: Message) -> tuple[int, ...]:
        """Numbers of the fields that this version has no name for; none unless strict."""
        if not self.is_strict:
            return ()
        unknown = UnknownFieldSet(message)
        # Indexed, since the stubs do not let it be iterated over.
        return tuple(sorted({unknown[index].field_number for index in range(len(unknown))}))

    def _add(self, path: str, description: str) -> None:
        self.faults.append(SpecFault(path, description))


def _read_before(kind: type, message: Message) -> Value | None:
    """The record of a message that lasts, if it is without faults."""
    if kind not in _LASTING:
        return None
    return _lasting(kind, message.SerializeToString(deterministic=True))


@lru_cache(_MOST_LASTING)
def _lasting(kind: type, data: bytes) -> Value | None:
    reading = Reading([], is_strict=False)
    record: Value = reading.record(kind, _LASTING[kind].FromString(data))
    return None if reading.faults else record


def _is_left_out(kind: type, descriptor: FieldDescriptor, message: Message) -> bool:
    if descriptor.has_presence:
        return not message.HasField(cast(Value, descriptor.name))
    has_default = descriptor.enum_type or (kind, descriptor.name) in ZERO_IS_LEFT_OUT
    return bool(has_default) and not getattr(message, descriptor.name)


@cache
def _version() -> str:
    return version("gradloom")
