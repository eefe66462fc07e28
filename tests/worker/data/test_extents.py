"""Where arrays lie in files, and which files cannot be streamed."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from gradloom.worker.data.blocks import Blocking
from gradloom.worker.data.errors import ArrayError, DataError, FileError
from gradloom.worker.data.extents import Extent, find_extents
from gradloom.worker.data.file_blocks import FileBlocks
from gradloom.worker.data.files import Roots
from gradloom.worker.data.spec import DataSource


def found(folder: Path, source: DataSource) -> dict[str, Extent | ArrayError | FileError]:
    return dict(find_extents(source, Roots((folder,)), "data"))


def fault(folder: Path, name: str) -> str:
    with pytest.raises(DataError) as caught:
        found(folder, DataSource(name))
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|u1", "<i2", "|b1"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 2)])
def test_rows_are_those_that_numpy_reads(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    x = (np.arange(np.prod(shape)) % 2).reshape(shape).astype(dtype)
    np.savez(tmp_path / "rows.npz", other=np.zeros(99), x=x)
    np.save(tmp_path / "x.npy", x)
    roots = Roots((tmp_path,))
    for source in (DataSource("rows.npz"), DataSource(files=(("x", "x.npy"),))):
        extent = found(tmp_path, source)["x"]
        assert isinstance(extent, Extent)
        blocks = FileBlocks((extent,), roots, Blocking(7, 3))
        read = np.concatenate([blocks.hashed(number).arrays[0] for number in range(3)])
        assert np.array_equal(read, x)
        assert read.dtype.isnative


def test_a_file_that_must_be_unpacked_is_no_stream(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "rows.npz", x=np.zeros(9))
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    error = found(tmp_path, DataSource("rows.npz"))["x"]
    assert str(error) == 'Array "x.npy" is compressed: a stream needs a file of numpy.savez.'
    assert "cannot be streamed: save it as .npz with numpy.savez" in fault(tmp_path, "rows.csv")


def test_an_array_in_column_order_or_of_text_is_told_by_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((3, 2), order="F"), names=np.array(["a", "b"]))
    arrays = found(tmp_path, DataSource("rows.npz"))
    assert "is in column order" in str(arrays["x"])
    assert "holds text" in str(arrays["names"])


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(100))
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(500)
    arrays = found(tmp_path, DataSource(files=(("x", "x.npy"),)))
    assert "The file is cut: its header promises 928 bytes" in str(arrays["x"])


def test_an_archive_cut_anywhere_is_refused_or_whole(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.arange(9), y=np.arange(9))
    data = (tmp_path / "rows.npz").read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        assert "data.path: " in fault(tmp_path, "cut.npz")


def test_a_directory_that_promises_much_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for number in range(40_000):
            archive.writestr(f"{number}.npy", b"")
    assert "directory is larger than that of 100 arrays" in fault(tmp_path, "many.npz")


def test_a_member_that_is_not_where_the_directory_says_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.arange(9))
    data = bytearray((tmp_path / "rows.npz").read_bytes())
    data[:4] = b"PK\x05\x06"
    (tmp_path / "odd.npz").write_bytes(data)
    error = found(tmp_path, DataSource("odd.npz"))["x"]
    assert str(error) == 'Array "x.npy" is not where the archive says: save it anew.'


def test_a_path_that_leaves_the_roots_is_refused(tmp_path: Path) -> None:
    assert "The path leaves the data roots" in fault(tmp_path, "../rows.npz")
