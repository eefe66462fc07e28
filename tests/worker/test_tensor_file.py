"""Metadata come out of a safetensors file, or an error that says why not."""

import struct

import numpy as np
import pytest
from safetensors.numpy import save

from gradloom.worker.tensor_file import BadTensorFile, metadata


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
