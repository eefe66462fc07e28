"""The metadata of a safetensors file, read without loading an array."""

import json
import struct

_LENGTH = struct.Struct("<Q")
_HEADER_LIMIT = 1 << 20


class BadTensorFile(ValueError):
    """Bytes that are no safetensors file with metadata."""


def metadata(content: bytes | memoryview) -> dict[str, str]:
    """The metadata of a file. Raises BadTensorFile."""
    try:
        (length,) = _LENGTH.unpack(content[: _LENGTH.size])
        header = json.loads(bytes(content[_LENGTH.size :][: _checked(length)]))
        return {str(key): str(value) for key, value in header["__metadata__"].items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadTensorFile(f"no safetensors file with metadata: {error}") from error


def _checked(length: int) -> int:
    if length > _HEADER_LIMIT:
        raise ValueError(f"its header has {length} bytes, more than {_HEADER_LIMIT}")
    return length
