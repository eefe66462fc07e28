"""What stands in a safetensors file, read without loading an array and believed in nothing.

The file: the length of a header as 8 bytes, the header (a JSON object that gives every tensor's
type, shape and place, and metadata), then the tensors' bytes without gaps.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

_LENGTH = struct.Struct("<Q")
_HEADER_LIMIT = 16 << 20
_METADATA = "__metadata__"
_MOST_AXES = 8
_TYPE_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}

# A value of a JSON document.
Json = Any
Content = bytes | memoryview


class BadTensorFile(ValueError):
    """Bytes that are no sound safetensors file; the message follows "it is"."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: the word for its type, its shape, and its bytes' place in the file."""

    dtype: str
    shape: tuple[int, ...]
    place: slice


def metadata(content: Content) -> dict[str, str]:
    """The metadata of a file. Raises BadTensorFile."""
    header, _ = _parted(content)
    found = header.get(_METADATA)
    if not isinstance(found, dict):
        raise BadTensorFile("no safetensors file with metadata")
    return {str(key): str(value) for key, value in found.items()}


def tensors(content: Content) -> dict[str, Tensor]:
    """All tensors by name, in the order of the header. Raises BadTensorFile.

    Every byte after the header belongs to exactly one of them.
    """
    header, begin = _parted(content)
    found = {name: _tensor(name, header[name], begin) for name in header if name != _METADATA}
    end = begin
    for each in sorted(found.values(), key=lambda tensor: (tensor.place.start, tensor.place.stop)):
        if each.place.start != end:
            raise BadTensorFile("no sound safetensors file: its tensors overlap or leave gaps")
        end = each.place.stop
    if end != len(content):
        raise BadTensorFile(f"{len(content)} bytes long, its header says {end}")
    return found


def _parted(content: Content) -> tuple[Mapping[str, Json], int]:
    """The header, and where it ends."""
    try:
        (length,) = _LENGTH.unpack(content[: _LENGTH.size])
        end = _LENGTH.size + _checked(length, len(content))
        header = json.loads(bytes(content[_LENGTH.size : end]), object_pairs_hook=_once)
    except (struct.error, ValueError, RecursionError) as error:
        raise BadTensorFile(f"no safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise BadTensorFile("no safetensors file: its header is no JSON object")
    return header, end


def _checked(length: int, whole: int) -> int:
    if length > min(_HEADER_LIMIT, whole - _LENGTH.size):
        raise ValueError(f"its header would have {length} bytes")
    return length


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object in which each key stands once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its header has a key twice")
    return found


def _tensor(name: str, entry: Json, begin: int) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [first, last]}:
            sizes = (*shape, first, last)
            are_sound = dtype in _TYPE_BYTES and len(shape) <= _MOST_AXES and all(_counts(sizes))
            if are_sound and last - first == prod(shape) * _TYPE_BYTES[dtype]:
                return Tensor(dtype, tuple(shape), slice(begin + first, begin + last))
    raise BadTensorFile(f"no sound safetensors file: the entry of {name[:80]!r} is wrong")


def _counts(values: tuple[Json, ...]) -> Iterator[bool]:
    """Whether each is a number of elements or bytes; JSON's true is an int in Python."""
    return (type(value) is int and 0 <= value < 1 << 48 for value in values)
