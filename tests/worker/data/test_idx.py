"""B055: IDX files whose magic, axes and length do not agree."""

import numpy as np
import pytest

from gradloom.worker.data.errors import FileError
from gradloom.worker.data.idx import DTYPES, parse_idx


def idx(code: int, shape: tuple[int, ...], body: bytes) -> bytes:
    lengths = b"".join(length.to_bytes(4, "big") for length in shape)
    return bytes([0, 0, code, len(shape)]) + lengths + body


@pytest.mark.parametrize("code", sorted(DTYPES))
def test_every_type_is_read_into_native_order(code: int) -> None:
    array = np.arange(6).reshape(2, 3).astype(DTYPES[code])
    parsed = parse_idx(idx(code, (2, 3), array.tobytes()))
    assert parsed.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert parsed.dtype.isnative


def test_an_axis_may_be_empty() -> None:
    assert parse_idx(idx(0x08, (0, 28), b"")).shape == (0, 28)


@pytest.mark.parametrize(
    "begin", [b"", b"\0\0", b"\0\0\x0a\x01", b"\x01\0\x08\x01", b"\0\0\x08\x00"]
)
def test_b055_a_wrong_magic_is_refused(begin: bytes) -> None:
    with pytest.raises(FileError, match="IDX"):
        parse_idx(begin + bytes(40) if len(begin) == 4 else begin)


def test_b055_axes_that_promise_too_much_are_refused() -> None:
    with pytest.raises(FileError, match=r"3 × 1,000 numbers need 3\.0 kB, 22 bytes are there"):
        parse_idx(idx(0x08, (3, 1_000), bytes(10)))


def test_b055_a_promise_of_exabytes_allocates_nothing() -> None:
    with pytest.raises(FileError, match="The file is cut"):
        parse_idx(idx(0x0E, (2**32 - 1,) * 4, b""))


def test_b055_bytes_after_the_end_are_counted() -> None:
    with pytest.raises(FileError, match="stand 7 bytes that do not belong"):
        parse_idx(idx(0x08, (3,), bytes(10)))


def test_b055_missing_axes_are_found() -> None:
    with pytest.raises(FileError, match="12 bytes expected, 6 found"):
        parse_idx(b"\0\0\x08\x02\0\0")
