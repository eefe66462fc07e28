"""Unpacks gzip data without trusting its size, its end or what follows it."""

import zlib

from gradloom.worker.data.errors import FileError
from gradloom.worker.data.limits import over_limit, unpacked_limit
from gradloom.worker.data.wording import size

GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 31


def gunzip(data: bytes) -> bytes:
    """All members of a gzip file, one after another; raises FileError."""
    unpacked = b""
    rest = data
    while rest:
        if not rest.startswith(GZIP_MAGIC):
            raise FileError(f"After the gzip data stand {size(len(rest))} that are not gzip.")
        member, rest = _member(data, rest, unpacked_limit(len(data)) - len(unpacked))
        unpacked = unpacked + member if unpacked else member
    return unpacked


def _member(data: bytes, rest: bytes, limit: int) -> tuple[bytes, bytes]:
    """One unpacked member, and the bytes after it."""
    stream = zlib.decompressobj(GZIP_WINDOW)
    try:
        member = stream.decompress(rest, limit + 1)
    except zlib.error:
        raise FileError("The gzip data is damaged: download it again.") from None
    if len(member) > limit:
        more = f"more than {size(unpacked_limit(len(data)))}"
        raise FileError(over_limit("gzip data", more, len(data)))
    if not stream.eof:
        raise FileError(f"The gzip data ends early at byte {len(data):,}: download it again.")
    return member, stream.unused_data
