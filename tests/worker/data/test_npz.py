"""B050 to B053, B056 for .npz: the directory is checked before a member is unpacked."""

import io
import warnings
import zipfile

import numpy as np
import pytest
from numpy.typing import NDArray

from gradloom.worker.data.errors import ArrayError, FileError
from gradloom.worker.data.npz import Archive


def saved(**arrays: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own word on duplicates
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


ARRAY = npy(np.arange(3))


def test_arrays_are_read_by_name_in_the_order_they_were_saved() -> None:
    archive = Archive(saved(zebra=np.arange(3), ape=np.eye(2)))
    assert archive.names == ("zebra", "ape")
    assert np.array_equal(archive.read("ape"), np.eye(2))


def test_an_empty_archive_has_no_names() -> None:
    assert Archive(zipped()).names == ()


def test_b050_one_array_of_objects_does_not_spoil_the_others() -> None:
    archive = Archive(saved(good=np.arange(3), bad=np.array([{}], dtype=object)))
    assert archive.read("good").tolist() == [0, 1, 2]
    with pytest.raises(ArrayError, match="Python objects; they are never loaded"):
        archive.read("bad")


def test_b051_a_broken_member_is_named() -> None:
    with pytest.raises(FileError, match=r'Array "a": This is not a \.npy file'):
        Archive(zipped(("a.npy", b"something else"))).read("a")


def test_b052_a_bomb_is_refused_by_its_directory() -> None:
    zeros = bytes(100_000_000)
    data = zipped(*((f"{i}.npy", zeros) for i in range(6)))
    with pytest.raises(FileError, match="unpacks to 600 MB, the limit is"):
        Archive(data)


def test_b052_a_ratio_over_200_is_refused() -> None:
    with pytest.raises(FileError, match=r"unpacks to 20 MB, .* \(200 times its 19 kB\)"):
        Archive(zipped(("a.npy", bytes(20_000_000))))


def test_b052_a_small_array_of_one_value_is_no_bomb() -> None:
    assert Archive(saved(a=np.zeros(100_000))).read("a").sum() == 0


def test_b052_a_declared_size_that_lies_is_found() -> None:
    data = bytearray(zipped(("a.npy", ARRAY), method=zipfile.ZIP_DEFLATED))
    entry = data.index(b"PK\x01\x02")
    for size_at in (22, entry + 24):
        data[size_at : size_at + 4] = (len(ARRAY) + 8).to_bytes(4, "little")
    with pytest.raises(FileError, match='Array "a"'):
        Archive(bytes(data)).read("a")


def test_b052_more_than_100_arrays_are_refused() -> None:
    with pytest.raises(FileError, match="holds 101 arrays, the limit is 100"):
        Archive(zipped(*((f"{i}.npy", ARRAY) for i in range(101))))


def test_b052_a_directory_of_thousands_is_not_even_read() -> None:
    with pytest.raises(FileError, match="more than 100 arrays"):
        Archive(zipped(*((f"{i}.npy", b"") for i in range(1_001))))


def test_b053_an_array_held_twice_is_refused() -> None:
    with pytest.raises(FileError, match='The archive holds "a" twice'):
        Archive(zipped(("a.npy", ARRAY), ("a.npy", ARRAY)))


@pytest.mark.parametrize(
    "name", ["../../x.npy", "/x.npy", "a/b.npy", "a\\b.npy", "notes.txt", "d/"]
)
def test_b053_odd_names_are_refused(name: str) -> None:
    with pytest.raises(FileError, match="The archive holds"):
        Archive(zipped((name, ARRAY)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(method: int) -> None:
    with pytest.raises(FileError, match="packed in a way"):
        Archive(zipped(("a.npy", ARRAY), method=method))


def test_b056_every_cut_of_an_archive_is_refused() -> None:
    data = saved(a=np.arange(3))
    for end in range(0, len(data), 7):
        with pytest.raises(FileError):
            Archive(data[:end])


def test_every_flipped_byte_is_refused_or_harmless() -> None:
    data = saved(a=np.arange(3))
    for place in range(len(data)):
        flipped = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        try:
            archive = Archive(flipped)
            values = [archive.read(name).tolist() for name in archive.names]
        except FileError:
            continue
        assert values == [[0, 1, 2]]
