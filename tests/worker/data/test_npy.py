"""B050, B051, B056, B061 for .npy: nothing is believed, nothing is unpickled."""

import io
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from gradloom.worker.data.errors import ArrayError, FileError
from gradloom.worker.data.npy import parse_npy

HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (10,), }"


def saved(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def with_header(header: str, body: bytes = b"") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize("dtype", ["i1", "u2", "<i4", ">i4", ">i8", "f2", "<f4", ">f4", ">f8"])
def test_every_number_type_is_read_into_native_order(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    parsed = parse_npy(saved(array))
    assert np.array_equal(parsed, array)
    assert parsed.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (7,), (2, 3, 4)])
def test_every_shape_is_kept(shape: tuple[int, ...]) -> None:
    assert parse_npy(saved(np.ones(shape))).shape == shape


def test_column_major_arrays_become_row_major() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    parsed = parse_npy(saved(array))
    assert np.array_equal(parsed, array)
    assert parsed.flags.c_contiguous


def test_booleans_are_read_as_bytes() -> None:
    assert parse_npy(saved(np.array([True, False]))).tolist() == [1, 0]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_read(version: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(3), version=version)
    assert parse_npy(buffer.getvalue()).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("array", "holds"),
    [
        (np.array([{}, []], dtype=object), "Python objects; they are never loaded"),
        (np.array([1j]), "complex numbers"),
        (np.array(["2026-01-01"], dtype="M8[D]"), "dates"),
        (np.array([1], dtype="m8[s]"), "spans of time"),
        (np.array(["a"]), "text"),
        (np.array([b"a"]), "text"),
        (np.array([1], dtype=np.longdouble), "long doubles"),
        (np.array([b"a"], dtype="V3"), "values of type"),
        (np.zeros(2, dtype=[("a", "i4"), ("b", "f4")]), "records of several fields"),
    ],
)
def test_b050_b061_what_is_no_number_is_named(array: NDArray[np.generic], holds: str) -> None:
    with pytest.raises(ArrayError, match=f"^holds {holds}"):
        parse_npy(saved(array))


def test_b050_a_pickle_is_not_loaded() -> None:
    with pytest.raises(FileError, match=r"not a \.npy file"):
        parse_npy(pickle.dumps(np.arange(3)))


def test_b051_a_promise_of_terabytes_allocates_nothing() -> None:
    data = with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}")
    tracemalloc.start()
    with pytest.raises(FileError, match=r"promises 4.0 TB, the file has \d+ bytes"):
        parse_npy(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("(-1, 4)", "negative shape"),
        ("(2.0,)", "not whole numbers"),
        ("(True,)", "not whole numbers"),
        ("[2]", "not whole numbers"),
        ("(1" + ", 1" * 40 + ",)", "41 axes"),
        ("(0, 99999999999999999999)", "promises"),
    ],
)
def test_b051_impossible_shapes_are_refused(shape: str, text: str) -> None:
    with pytest.raises(FileError, match=text):
        parse_npy(with_header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "[]",
        "{}",
        "__import__('os').system('false')",
        "(" * 5_000,
        "-" * 9_000 + "1",
        "{'descr': 4, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{[]: 1}",
    ],
)
def test_b051_a_broken_header_is_refused(header: str) -> None:
    with pytest.raises(FileError, match="header"):
        parse_npy(with_header(header))


def test_b051_a_header_of_20_kb_is_not_parsed() -> None:
    with pytest.raises(FileError, match=r"header has 20 kB, the limit is 10 kB"):
        parse_npy(with_header(HEADER + " " * 20_000))


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(FileError, match="unknown version"):
        parse_npy(b"\x93NUMPY\x09\x00" + bytes(100))


def test_b056_missing_bytes_are_counted() -> None:
    with pytest.raises(FileError, match="The file is cut: 40 bytes expected, 4 found"):
        parse_npy(with_header(HEADER, bytes(4)))


def test_b056_bytes_after_the_end_are_counted() -> None:
    with pytest.raises(FileError, match="stand 2 bytes that do not belong"):
        parse_npy(with_header(HEADER, bytes(42)))


def test_b056_every_cut_of_a_file_is_refused() -> None:
    data = saved(np.arange(3))
    for end in range(len(data)):
        with pytest.raises(FileError):
            parse_npy(data[:end])
