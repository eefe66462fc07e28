"""What stands in a safetensors file comes out, or an error that says why not."""

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from gradloom.worker.tensor_file import BadTensorFile, metadata, tensors


def test_metadata_that_went_in_come_out() -> None:
    assert metadata(save({"a": np.zeros(2, np.float32)}, {"step": "3"})) == {"step": "3"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 1 << 40) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 4) + b"\xff\xff\xff\xff",
    ],
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BadTensorFile):
        metadata(content)


def file_of(header: object, body: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + body


def entry(first: int = 0, last: int = 8, *, dtype: object = "F32", shape: object = (2,)) -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def test_tensors_are_found_where_they_stand() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(2)}
    content = save(arrays, {"step": "3"})
    found = tensors(content)
    assert {name: (each.dtype, each.shape) for name, each in found.items()} == {
        "a": ("F32", (2, 3)),
        "b": ("I64", (2,)),
    }
    for name, array in arrays.items():
        assert content[found[name].place] == array.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        file_of({"a": entry()}),
        file_of({"a": entry()}, bytes(9)),
        file_of({"a": entry(4, 12)}, bytes(12)),
        file_of({"a": entry(), "b": entry()}, bytes(8)),
        file_of({"a": entry(), "b": entry(4, 12)}, bytes(12)),
        file_of({"a": entry(), "b": entry(12, 20)}, bytes(20)),
        file_of({"a": entry(8, 0)}, bytes(8)),
        file_of({"a": entry(-8, 0)}, bytes(8)),
        file_of({"a": entry(dtype="F31")}, bytes(8)),
        file_of({"a": entry(dtype=["F32"])}, bytes(8)),
        file_of({"a": entry(shape=(3,))}, bytes(8)),
        file_of({"a": entry(shape=(-1, -2))}, bytes(8)),
        file_of({"a": entry(shape=(2.0,))}, bytes(8)),
        file_of({"a": entry(0, 4, shape=(True,))}, bytes(4)),
        file_of({"a": entry(shape=(1,) * 8 + (2,))}, bytes(8)),
        file_of({"a": entry(0, 1 << 62, shape=(1 << 60,))}, bytes(8)),
        file_of({"a": None}, bytes(8)),
        file_of({"a": {"dtype": "F32"}}, bytes(8)),
        file_of([entry()], bytes(8)),
        file_of(b'{"a": {}, "a": {}}'),
        file_of(b"[" * 100_000),
        struct.pack("<Q", (1 << 64) - 1) + b"{}",
        struct.pack("<Q", 3) + b"{}",
    ],
)
def test_no_lie_is_believed(content: bytes) -> None:
    with pytest.raises(BadTensorFile):
        tensors(content)


@given(st.binary(max_size=200))
@settings(derandomize=True, max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    for content in (noise, file_of(noise, noise)):
        with contextlib.suppress(BadTensorFile):
            tensors(content)
