"""A word of a job file as the value its field wants, or the sentence that says why not.

The field decides what a word means, so that "name: no" is a name and 1e-3 a number.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import FieldDescriptor

from gradloom.service.descriptors import enum_of, enum_prefix, short_names
from gradloom.service.jobs import limits
from gradloom.service.sentences import any_of, quoted, shown
from gradloom.worker.engine.check import UNITS

Scalar = str | int | float | bool

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?\.?(nan|inf|infinity)", re.IGNORECASE)
_DURATION = re.compile(r"-?[0-9]{1,11}(\.[0-9]{1,9})?s")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "false": False}

# No whole number of a spec has more digits; a longer one need not be worked out.
_DIGITS = 25

# Numbers whose 0 would pass for left out on the wire, and what is said of one that is written.
_ZERO_REMEDIES = {
    "gradloom.v1.TrainingSpec.shards": f"use 1 to {limits.SHARDS}",
    "gradloom.v1.ResourcesSpec.workers": "give at least 1",
}

# Fields whose limit is below that of their type.
_LARGEST = {
    "gradloom.v1.Dense.units": int(UNITS.high),
    "gradloom.v1.TrainingSpec.shards": limits.SHARDS,
    "gradloom.v1.TrainingSpec.epochs": limits.LENGTH,
    "gradloom.v1.TrainingSpec.steps": limits.LENGTH,
}


class NotThisValue(Exception):
    """A word cannot be its field's value; the message is a sentence for its user."""


@dataclass(frozen=True, slots=True)
class Word:
    """A scalar as it stands in the file."""

    text: str
    is_plain: bool

    @property
    def is_null(self) -> bool:
        """Whether nothing is written, or null."""
        return self.is_plain and self.text in _NULLS

    @property
    def is_boolean(self) -> bool:
        """Whether it is true or false."""
        return self.is_plain and self.text in _BOOLEANS

    @property
    def is_number(self) -> bool:
        """Whether it is a number without quotes."""
        return self.is_plain and _NUMBER.fullmatch(self.text) is not None

    @property
    def kind(self) -> str:
        """What a reader would call it: 5 (a number)."""
        if self.is_null:
            return "empty"
        if self.is_boolean:
            return f"{self.text} (a boolean)"
        return f"{shown(self.text)} (a number)" if self.is_number else quoted(self.text)


def scalar(field: FieldDescriptor, word: Word) -> Scalar:
    """The value of a word for a field that is not a message; raises NotThisValue."""
    return _READERS[field.cpp_type](field, word)


def expected(field: FieldDescriptor) -> str:
    """What a field wants, in words."""
    return _EXPECTED[field.cpp_type]


def duration(field: FieldDescriptor, word: Word) -> str:
    """A duration in protobuf's form, such as 30s; raises NotThisValue."""
    if not _DURATION.fullmatch(word.text):
        raise NotThisValue(f"{field.name} is {word.kind}: give seconds with an s, such as 30s.")
    return word.text


def _text(field: FieldDescriptor, word: Word) -> str:
    if word.is_null:
        raise NotThisValue(f"{_unexpected(field, word)}.")
    if word.is_boolean or word.is_number:
        raise NotThisValue(f"{_unexpected(field, word)}: write {quoted(word.text)} in quotes.")
    return word.text


def _boolean(field: FieldDescriptor, word: Word) -> bool:
    if word.is_boolean:
        return _BOOLEANS[word.text]
    raise NotThisValue(f"{field.name} is {_said(word)}: write true or false.")


def _number(field: FieldDescriptor, word: Word) -> float:
    if _NOT_FINITE.fullmatch(word.text):
        name = "NaN" if "nan" in word.text.lower() else "infinite"
        raise NotThisValue(f"{field.name} is {name}: give a finite number.")
    if not _NUMBER.fullmatch(word.text):
        raise NotThisValue(_no_number(field, word))
    value = float(word.text)
    if not math.isfinite(value):
        raise NotThisValue(f"{field.name} is {shown(word.text)}, beyond any finite number.")
    return value


def _whole(field: FieldDescriptor, word: Word) -> int:
    value = _whole_value(field, word)
    smallest, largest = _BOUNDS[field.cpp_type]
    largest = _LARGEST.get(field.full_name, largest)
    if value > largest:
        raise NotThisValue(f"{field.name} is {shown(word.text)}, the largest allowed is {largest}.")
    if value < smallest:
        raise NotThisValue(
            f"{field.name} is {shown(word.text)}, the smallest allowed is {smallest}."
        )
    if value == 0 and field.full_name in _ZERO_REMEDIES:
        raise NotThisValue(f"{field.name} is 0: {_ZERO_REMEDIES[field.full_name]}.")
    return value


def _whole_value(field: FieldDescriptor, word: Word) -> int:
    if _WHOLE.fullmatch(word.text) and len(word.text) <= _DIGITS:
        return int(word.text)
    number = _number(field, word)
    if not number.is_integer():
        raise NotThisValue(f"{field.name} is {shown(word.text)}, expected a whole number.")
    return int(number)


def _choice(field: FieldDescriptor, word: Word) -> int:
    enum = enum_of(field)
    short = short_names(enum)
    long = {(enum_prefix(enum) + name.upper()): number for name, number in short.items()}
    if word.text in short:
        return short[word.text]
    if word.text in long:
        return long[word.text]
    raise NotThisValue(f"{field.name} is {_said(word)}: use {any_of(short)}.")


def _no_number(field: FieldDescriptor, word: Word) -> str:
    if number := _tidied(word.text):
        return f"{field.name} is {quoted(word.text)}, not a number as it stands: write {number}."
    return f"{_unexpected(field, word)}."


def _tidied(text: str) -> str:
    """The number someone meant by 1_0, 010, +1 or full-width digits; empty if none."""
    plain = unicodedata.normalize("NFKC", text[:_DIGITS]).strip().replace("_", "")
    plain = re.sub(r"^\+|^(-?)0+(?=[0-9])", r"\1", plain)
    return plain if _NUMBER.fullmatch(plain) else ""


def _said(word: Word) -> str:
    return "empty" if word.is_null else quoted(word.text)


def _unexpected(field: FieldDescriptor, word: Word) -> str:
    return f"{field.name} is {word.kind}, expected {expected(field)}"


_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}

_READERS: Mapping[int, Callable[[FieldDescriptor, Word], Scalar]] = {
    **dict.fromkeys(_BOUNDS, _whole),
    FieldDescriptor.CPPTYPE_DOUBLE: _number,
    FieldDescriptor.CPPTYPE_FLOAT: _number,
    FieldDescriptor.CPPTYPE_STRING: _text,
    FieldDescriptor.CPPTYPE_BOOL: _boolean,
    FieldDescriptor.CPPTYPE_ENUM: _choice,
}

_EXPECTED: Mapping[int, str] = {
    **dict.fromkeys(_BOUNDS, "a whole number"),
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_STRING: "a text",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_ENUM: "a word",
    FieldDescriptor.CPPTYPE_MESSAGE: "seconds with an s, such as 30s",
}
