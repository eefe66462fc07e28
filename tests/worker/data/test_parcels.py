"""Datasets in blocks are the datasets they were: the same rows, scalings and indices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradloom.worker.data.blocks import Blocked
from gradloom.worker.data.container import Array
from gradloom.worker.data.files import Roots
from gradloom.worker.data.parcels import packed, total_bytes, unpacked
from gradloom.worker.data.preparation import prepare, read_datasets, request_of
from gradloom.worker.data.prepared import Datasets, Prepared
from gradloom.worker.data.spec import DataSource, DataSpec, Normalize
from gradloom.worker.data.streams import Given
from gradloom.worker.data.target import TargetKind
from tests.worker.data.streaming import ROWS, write

SPEC = DataSpec(
    "labels",
    "rows.npz",
    inputs=("points", "number"),
    validation_fraction=0.2,
    test=DataSource("rows.npz"),
)


def datasets(folder: Path, spec: DataSpec = SPEC) -> Datasets:
    return read_datasets(request_of(spec, Roots((folder,)), TargetKind.LABELS, joined=True))


def sent(data: Datasets, block_bytes: int = 256) -> tuple[Datasets, list[Array]]:
    """What arrives where the blocks are numbers in a list."""
    store: list[Array] = []

    def put(array: Array) -> int:
        store.append(array)
        return len(store) - 1

    parcels = packed(data, block_bytes, put)
    return unpacked(parcels, lambda numbers: [store[number] for number in numbers]), store


def prepared(folder: Path, spec: DataSpec, given: Given) -> Prepared:
    return prepare(spec, Roots((folder,)), seed=7, kind=TargetKind.LABELS, given=given)


def filled(data: Prepared) -> list[Array]:
    inputs, target = np.empty((50, 3), np.float32), np.empty(50, np.int64)
    data.training.fill(data.training.visited(1, 30, 80), [inputs], target)
    return [inputs, target, data.training.target]


@pytest.mark.parametrize("normalize", Normalize)
def test_the_bits_are_those_of_one_piece(tmp_path: Path, normalize: Normalize) -> None:
    write(tmp_path)
    spec = replace(SPEC, normalize=normalize)
    arrived, _ = sent(datasets(tmp_path, spec))
    assert isinstance(arrived.data.target, Blocked)
    whole = prepared(tmp_path, spec, Given())
    (tmp_path / "rows.npz").unlink()
    given = prepared(tmp_path, spec, Given(datasets=arrived))
    assert given.summary == whole.summary
    for one, other in zip(filled(given), filled(whole), strict=True):
        assert one.tobytes() == other.tobytes()
    for found, expected in zip(given.scalings, whole.scalings, strict=True):
        assert found.offset.tobytes() == expected.offset.tobytes()
        assert found.scale.tobytes() == expected.scale.tobytes()


def test_blocks_hold_every_row_once_and_no_block_is_large(tmp_path: Path) -> None:
    write(tmp_path)
    data = datasets(tmp_path)
    _, store = sent(data)
    assert max(array.nbytes for array in store) <= 256
    assert sum(array.nbytes for array in store) == total_bytes(data)
    assert total_bytes(data) == 2 * ROWS * (8 + 4 + 8)


def test_what_fits_a_block_arrives_as_it_is(tmp_path: Path) -> None:
    write(tmp_path)
    arrived, store = sent(datasets(tmp_path), 1 << 20)
    assert any(arrived.data.target is array for array in store)
