"""Where compiled kernels are kept, and what a new folder begins as."""

import os
import tempfile
from pathlib import Path

import pytest

from gradloom.worker.engine.kernel_folder import cache_folder

NOWHERE = Path("/proc/nobody")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for /tmp."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_kernels_are_kept_in_the_users_cache(tmp_path: Path) -> None:
    folder = cache_folder({"HOME": "/nobody", "XDG_CACHE_HOME": str(tmp_path)})
    assert folder.parent == tmp_path / "gradloom"
    assert cache_folder({"HOME": str(tmp_path)}).parent == tmp_path / ".cache" / "gradloom"


def test_without_a_cache_of_the_user_they_are_kept_in_a_temporary_folder(temporary: Path) -> None:
    folder = cache_folder({"HOME": "/proc/nobody"})
    assert folder.parents[1] == temporary / f"gradloom-{os.getuid()}"
    assert folder.parents[1].stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_others_may_write_to_is_not_trusted(temporary: Path) -> None:
    theirs = temporary / f"gradloom-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    assert theirs not in cache_folder({}).parents


def test_a_filled_folder_that_is_read_only_is_copied(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = cache_folder({"XDG_CACHE_HOME": str(tmp_path)})
    (filled / "sub").mkdir(parents=True)
    (filled / "sub" / "kernel.nbc").write_bytes(b"code")
    # The suite may run as root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    folder = cache_folder({"XDG_CACHE_HOME": str(tmp_path)})
    assert temporary in folder.parents
    assert (folder / "sub" / "kernel.nbc").read_bytes() == b"code"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """What a warm-up for all users has left."""
    folder = cache_folder({"XDG_CACHE_HOME": str(tmp_path / "installed")}, NOWHERE)
    (folder / "kernel.nbc").write_bytes(b"code")
    return tmp_path / "installed"


def test_a_users_folder_begins_as_a_copy_of_what_is_installed(
    tmp_path: Path, installed: Path
) -> None:
    folder = cache_folder({"XDG_CACHE_HOME": str(tmp_path / "user")}, installed)
    assert (folder / "kernel.nbc").read_bytes() == b"code"
    (folder / "kernel.nbc").unlink()
    again = cache_folder({"XDG_CACHE_HOME": str(tmp_path / "user")}, installed)
    assert again == folder
    assert list(folder.iterdir()) == []


def test_without_a_cache_of_the_user_a_temporary_folder_begins_so_too(
    temporary: Path, installed: Path
) -> None:
    folder = cache_folder({"HOME": str(NOWHERE)}, installed)
    assert temporary in folder.parents
    assert (folder / "kernel.nbc").read_bytes() == b"code"


def test_what_is_installed_of_other_sources_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "installed" / "gradloom" / "kernels-0123456789abcdef"
    other.mkdir(parents=True)
    folder = cache_folder({"XDG_CACHE_HOME": str(tmp_path / "user")}, tmp_path / "installed")
    assert list(folder.iterdir()) == []
