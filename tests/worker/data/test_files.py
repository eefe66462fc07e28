"""B047 to B049, T13: what is opened below the data roots, and what is not."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from gradloom.worker.data.errors import FileError
from gradloom.worker.data.files import LEAVES, NOT_REGULAR, Roots, locate, read_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "digits.npz").write_bytes(b"digits")
    (tmp_path / "secret.npz").write_bytes(b"secret")
    return folder


def refusal(roots: Roots, path: str) -> str:
    with pytest.raises(FileError) as caught:
        read_file(roots, path)
    return str(caught.value)


def test_a_relative_path_is_read_below_a_root(root: Path) -> None:
    assert read_file(Roots((root,)), "data/digits.npz") == b"digits"


def test_an_absolute_path_below_a_root_is_read(root: Path) -> None:
    assert read_file(Roots((root,)), str(root / "data/digits.npz")) == b"digits"


def test_the_first_root_that_has_the_file_wins(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    (other / "data" / "digits.npz").write_bytes(b"others")
    assert read_file(Roots((tmp_path / "none", other, root)), "data/digits.npz") == b"others"


def test_the_root_of_everything_means_any_file(root: Path) -> None:
    assert read_file(Roots((Path("/"),)), str(root / "data/digits.npz")) == b"digits"


def test_dots_that_stay_inside_are_followed(root: Path) -> None:
    assert read_file(Roots((root,)), "data/../data/./digits.npz") == b"digits"


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link.npz").symlink_to("data/digits.npz")
    assert read_file(Roots((root,)), "link.npz") == b"digits"


def test_a_root_that_is_itself_a_link_is_a_root(root: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    assert read_file(Roots((alias,)), str(root / "data/digits.npz")) == b"digits"


def test_b047_a_missing_file_is_answered_with_the_nearest_name(root: Path) -> None:
    assert refusal(Roots((root,)), "data/digts.npz") == (
        'There is no file "data/digts.npz" under the data roots. Nearest: data/digits.npz.'
    )


def test_b047_a_missing_folder_has_no_nearest_name(root: Path) -> None:
    assert refusal(Roots((root,)), "other/digits.npz") == (
        'There is no file "other/digits.npz" under the data roots.'
    )


def test_b047_a_directory_is_named_as_one(root: Path) -> None:
    assert refusal(Roots((root,)), "data") == '"data" is a directory: name a file in it.'


def test_control_characters_of_a_path_are_escaped(root: Path) -> None:
    assert '"a\\x1b[31m\\u202eb"' in refusal(Roots((root,)), "a\x1b[31m\u202eb")


@pytest.mark.parametrize(
    "path",
    [
        "../secret.npz",
        "../none.npz",
        "data/../../secret.npz",
        "/etc/passwd",
        "/etc/none",
        "data/digits.npz\0.npz",
        "../root-of-another/x.npz",
    ],
)
def test_b048_a_path_out_of_the_roots_gets_one_answer(root: Path, path: str) -> None:
    assert refusal(Roots((root,)), path) == LEAVES


@pytest.mark.parametrize("target", ["secret.npz", "none.npz", ""])
def test_b048_a_link_out_of_the_roots_gets_the_same_answer(
    root: Path, tmp_path: Path, target: str
) -> None:
    (root / "link.npz").symlink_to(tmp_path / target)
    assert refusal(Roots((root,)), "link.npz") == LEAVES


def test_b048_a_linked_folder_does_not_tell_its_files(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path)
    assert refusal(Roots((root,)), "out/secrt.npz") == LEAVES


def test_b048_a_root_does_not_open_its_namesakes(root: Path, tmp_path: Path) -> None:
    sibling = tmp_path / "root2"
    sibling.mkdir()
    (sibling / "x.npz").write_bytes(b"x")
    assert refusal(Roots((root,)), str(sibling / "x.npz")) == LEAVES


def test_no_roots_open_nothing(root: Path) -> None:
    assert refusal(Roots(()), str(root / "data/digits.npz")) == LEAVES


def test_b049_a_pipe_is_refused_without_waiting_for_its_writer(root: Path) -> None:
    os.mkfifo(root / "pipe.npz")
    begin = time.monotonic()
    assert refusal(Roots((root,)), "pipe.npz") == NOT_REGULAR
    assert time.monotonic() - begin < 1


def test_b049_a_socket_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.npz")
        assert refusal(Roots((root,)), "socket.npz") == NOT_REGULAR


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/proc/self/environ", "/proc/self/fd/0", "/proc/1/mem"]
)
def test_b049_kernel_files_are_refused_even_where_any_file_may_be_read(path: str) -> None:
    roots = Roots((Path("/"),))
    with pytest.raises(FileError):
        read_file(roots, path)


def test_t13_a_file_swapped_for_a_link_is_never_read(root: Path, tmp_path: Path) -> None:
    place, file, link = root / "swapped.npz", root / "file", root / "link"
    place.write_bytes(b"public")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            file.write_bytes(b"public")
            file.replace(place)
            link.symlink_to(tmp_path / "secret.npz")
            link.replace(place)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = {_read_or_refusal(root) for _ in range(3_000)}
    stop.set()
    swapper.join()
    assert b"secret" not in seen
    assert b"public" in seen


def _read_or_refusal(root: Path) -> bytes:
    try:
        return read_file(Roots((root,)), "swapped.npz")
    except FileError as error:
        return str(error).encode()


def test_descriptors_are_closed_whatever_happens(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    roots = Roots((root,))
    locate(roots, "data/digits.npz").close()
    for path in ("data", "none", "../x"):
        refusal(roots, path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
