"""Fault points of the service: files that cannot be written, and where they are asked for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gradloom.service import faults
from gradloom.worker.faults import VARIABLE

WRITE = (
    "import sys; from pathlib import Path; "
    "from gradloom.service.training.checkpoints import write_atomically; "
    "write_atomically(Path(sys.argv[1]), b'new')"
)


def write_with(fault: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Writes a file in a process that has the fault set."""
    return subprocess.run(
        [sys.executable, "-c", WRITE, str(path)],
        env={**os.environ, VARIABLE: fault},
        capture_output=True,
        text=True,
    )


def test_without_the_word_every_point_is_inert() -> None:
    for point in faults.Point:
        faults.reached(point, name="step-000000001.safetensors")


@pytest.mark.parametrize("point", ["checkpoint.write", "checkpoint.fsync", "checkpoint.rename"])
def test_a_disk_that_is_full_leaves_the_old_file_and_no_part_of_a_new_one(
    tmp_path: Path, point: str
) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"old")
    ended = write_with(f"{point}:full@name=state.safetensors", path)
    assert "No space left" in ended.stderr
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("point", ["checkpoint.write", "checkpoint.fsync", "checkpoint.rename"])
def test_a_death_while_writing_leaves_the_old_file(tmp_path: Path, point: str) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"old")
    assert write_with(f"{point}:kill", path).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_fault_of_another_file_leaves_this_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    assert write_with("checkpoint.write:full@name=model.safetensors", path).returncode == 0
    assert path.read_bytes() == b"new"


def test_a_misspelt_point_is_told_at_the_start(tmp_path: Path) -> None:
    ended = write_with("checkpoint.wrte:kill", tmp_path / "state.safetensors")
    assert "no point checkpoint.wrte: use one of checkpoint.write" in ended.stderr
