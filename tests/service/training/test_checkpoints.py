"""A checkpoint is there whole or not at all, and only its own job reads it."""

import json
import struct
from pathlib import Path

import pytest

from gradloom.service.jobs.job import Checkpoint
from gradloom.service.training.checkpoints import (
    BadCheckpoint,
    CheckpointFolder,
    Identity,
    to_prune,
)

IDENTITY = Identity("uid-1", "spec-1", 1)


def safetensors(identity: Identity, payload: bytes = b"weights") -> bytes:
    header = json.dumps({"__metadata__": dict(identity.metadata())}).encode()
    return struct.pack("<Q", len(header)) + header + payload


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path / "checkpoints", IDENTITY)


def file_of(tmp_path: Path, step: int) -> Path:
    return tmp_path / "checkpoints" / f"step-{step:09d}.safetensors"


def test_what_is_written_is_read_back(folder: CheckpointFolder) -> None:
    content = safetensors(IDENTITY)
    assert folder.read(folder.write(3, content)) == content


def test_every_flipped_byte_is_noticed(folder: CheckpointFolder, tmp_path: Path) -> None:
    content = safetensors(IDENTITY)
    for place in range(0, len(content), 7):
        checkpoint = folder.write(3, content)
        flipped = bytearray(content)
        flipped[place] ^= 1
        file_of(tmp_path, 3).write_bytes(flipped)
        with pytest.raises(BadCheckpoint, match="damaged"):
            folder.read(checkpoint)


def test_a_cut_file_is_noticed_and_moved_aside(folder: CheckpointFolder, tmp_path: Path) -> None:
    checkpoint = folder.write(3, safetensors(IDENTITY))
    file_of(tmp_path, 3).write_bytes(safetensors(IDENTITY)[:-1])
    with pytest.raises(BadCheckpoint):
        folder.read(checkpoint)
    assert file_of(tmp_path, 3).with_suffix(".corrupt").exists()


def test_a_missing_file_is_a_bad_checkpoint(folder: CheckpointFolder) -> None:
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        folder.read(Checkpoint(9, 1, "00"))


def test_another_jobs_checkpoint_is_refused(folder: CheckpointFolder) -> None:
    foreign = folder.write(3, safetensors(Identity("uid-2", "spec-1", 1)))
    with pytest.raises(BadCheckpoint, match="another job"):
        folder.read(foreign)


def test_a_failed_write_leaves_the_old_file_and_no_part(
    folder: CheckpointFolder, tmp_path: Path
) -> None:
    checkpoint = folder.write(3, safetensors(IDENTITY))
    file_of(tmp_path, 4).mkdir()
    with pytest.raises(OSError, match="directory"):
        folder.write(4, safetensors(IDENTITY))
    assert folder.read(checkpoint)
    assert not list((tmp_path / "checkpoints").glob("*.partial"))


def test_a_part_left_by_a_crash_is_swept(tmp_path: Path) -> None:
    (tmp_path / "x.partial").write_bytes(b"half")
    CheckpointFolder(tmp_path, IDENTITY)
    assert not list(tmp_path.iterdir())


def pruned(*steps: int, needed: tuple[int, ...] = ()) -> list[int]:
    made = [Checkpoint(step, 1, "") for step in steps]
    return [checkpoint.step for checkpoint in to_prune(made, 2, lambda step: step in needed)]


def test_the_newest_checkpoints_stay() -> None:
    assert pruned(1, 3, 2) == [1]


def test_the_newest_checkpoint_that_is_needed_stays_too() -> None:
    assert pruned(1, 2, 3, 4, 5, needed=(1, 3)) == [2, 1]
    assert pruned(1, 2, 3, 4, 5, needed=(1, 5)) == [3, 2, 1]
