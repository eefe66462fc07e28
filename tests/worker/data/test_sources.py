"""Which file is opened in which format, and what its hash is."""

import gzip
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gradloom.worker.data.errors import ArrayError, DataError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.sources import open_source
from gradloom.worker.data.spec import DataSource
from gradloom.worker.engine.spec import Fault


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def faults(source: DataSource, root: Path) -> tuple[Fault, ...]:
    with pytest.raises(DataError) as caught:
        open_source(source, Roots((root,)), "data")
    return caught.value.faults


def test_the_hash_of_one_file_is_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"a,b\n1,2\n")
    _, sha256 = open_source(DataSource("x.csv"), Roots((tmp_path,)), "data")
    assert sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()


def test_files_are_read_by_what_they_hold_not_by_their_names(tmp_path: Path) -> None:
    idx = b"\0\0\x08\x01\0\0\0\x02\x07\x09"
    (tmp_path / "1").write_bytes(gzip.compress(idx))
    (tmp_path / "2").write_bytes(gzip.compress(npy(np.array([3.0]))))
    (tmp_path / "3").write_bytes(npy(np.array([4, 5])))
    source = DataSource(files=(("c", "1"), ("b", "2"), ("a", "3")))
    container, _ = open_source(source, Roots((tmp_path,)), "data")
    assert container.names == ("a", "b", "c")
    assert [container.read(name).tolist() for name in container.names] == [[4, 5], [3], [7, 9]]


def test_d20_the_hash_of_several_files_does_not_depend_on_their_order(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(npy(np.array([1])))
    (tmp_path / "y").write_bytes(npy(np.array([2])))
    files, roots = (("a", "x"), ("b", "y")), Roots((tmp_path,))
    forward = open_source(DataSource(files=files), roots, "data")[1]
    assert forward == open_source(DataSource(files=files[::-1]), roots, "data")[1]
    swapped = DataSource(files=(("a", "y"), ("b", "x")))
    assert forward != open_source(swapped, roots, "data")[1]


def test_every_broken_file_is_told_at_its_own_field(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"hello")
    source = DataSource(files=(("labels", "none"), ("images", "text")))
    assert faults(source, tmp_path) == (
        Fault(
            'data.files["images"]',
            "This is neither a .npy nor an IDX file, nor one of them in gzip.",
        ),
        Fault('data.files["labels"]', 'There is no file "none" under the data roots.'),
    )


def test_b050_an_array_of_objects_is_told_only_to_who_reads_it(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy(np.array([{}], dtype=object)))
    container, _ = open_source(DataSource(files=(("x", "x.npy"),)), Roots((tmp_path,)), "data")
    with pytest.raises(ArrayError):
        container.read("x")


@pytest.mark.parametrize("source", [DataSource(), DataSource("x.csv", (("a", "b"),))])
def test_a_source_is_a_path_or_files(source: DataSource, tmp_path: Path) -> None:
    assert faults(source, tmp_path) == (Fault("data", "Give path or files, one of them."),)


@pytest.mark.parametrize("path", ["x.pkl", "x.npy", "x"])
def test_b050_a_path_of_another_kind_is_refused(path: str, tmp_path: Path) -> None:
    assert faults(DataSource(path), tmp_path) == (
        Fault(
            "data.path",
            f'"{path}" is not a .npz or .csv file: give a file of one array in data.files.',
        ),
    )
