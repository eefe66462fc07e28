"""Where kernels are kept, and that a process knows which of them it had to compile."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gradloom.worker.engine.kernels.compiler import cache_folder

DOUBLED = """
import json, sys
import numpy as np
from gradloom.worker.engine.kernels.compiler import compilations, kernel

@kernel
def doubled(x):
    for index in range(x.shape[0]):
        x[index] *= 2

@kernel
def never(x):
    x[0] = 0

for dtype in sys.argv[1:]:
    doubled(np.ones(3, dtype))
found = compilations()
print(json.dumps([found.compiled, found.found, found.unused]))
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for /tmp."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def seen(program: Path, cache: Path, *dtypes: str) -> list[object]:
    """What a new process says of its kernels."""
    output = subprocess.check_output(
        [sys.executable, program, *dtypes],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        text=True,
    )
    answer: list[object] = json.loads(output)
    return answer


@pytest.mark.process
def test_a_process_knows_what_it_compiled_found_and_never_used(tmp_path: Path) -> None:
    program, cache = tmp_path / "doubled.py", tmp_path / "cache"
    program.write_text(DOUBLED)
    never = ["__main__.never"]
    assert seen(program, cache) == [0, 0, ["__main__.doubled", *never]]
    assert seen(program, cache, "float32") == [1, 0, never]
    assert seen(program, cache, "float32", "float64") == [1, 1, never]
    assert seen(program, cache, "float32", "float64") == [0, 2, never]


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
