"""What a job file may name: every layer and every preset, with its fields."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from enum import StrEnum
from typing import Any

from gradloom.worker.engine.spec import LAYERS, PRESETS


@dataclass(frozen=True, slots=True)
class WordField:
    """A field of a layer; what it is where left out, as a job file writes it, or required."""

    name: str
    default: str
    required: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A layer or a preset: its name in a job file, what it does, and its fields."""

    name: str
    meaning: str
    fields: tuple[WordField, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All of them."""

    layers: tuple[Word, ...]
    presets: tuple[Word, ...]


def vocabulary() -> Vocabulary:
    """What this version knows, in alphabetical order."""
    return Vocabulary(tuple(_words(LAYERS)), tuple(_words(PRESETS)))


def _words(table: Mapping[str, type]) -> Iterator[Word]:
    for name, kind in sorted(table.items()):
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        yield Word(name, meaning, tuple(map(_field, fields(kind))))


# Any: fields of every type there is.
def _field(field: Field[Any]) -> WordField:
    required = field.default is MISSING and field.default_factory is MISSING
    return WordField(field.name, "" if required else _spoken(field.default), required)


def _spoken(value: Any) -> str:
    match value:
        case StrEnum():
            return value.value
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case None:
            return "none"
    return str(value)
