"""Checkpoints of a job on disk: written whole or not at all, read back only if they are whole.

A file is written under a temporary name, fsynced, renamed, its folder fsynced, and only then told
to the store, which keeps its SHA-256. A file the store does not know, or whose hash is another, is
never used.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gradloom.service.faults import Point, reached
from gradloom.service.jobs.job import Checkpoint
from gradloom.worker.tensor_file import BadTensorFile, metadata


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose state a checkpoint is: written into it, compared when it is read."""

    uid: str
    spec_sha256: str
    bits_version: int

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The identity as safetensors metadata."""
        return (
            ("uid", self.uid),
            ("spec_sha256", self.spec_sha256),
            ("bits_version", str(self.bits_version)),
        )


class BadCheckpoint(Exception):
    """A checkpoint that must not be used; the sentence says why."""


class CheckpointFolder:
    """The folder of one job's checkpoints."""

    def __init__(self, path: Path, identity: Identity) -> None:
        self._path = path
        self._identity = identity
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in path.glob("*.partial"):
            leftover.unlink()

    def write(self, step: int, content: bytes | memoryview) -> Checkpoint:
        """Puts a checkpoint on disk for good. Raises OSError and then leaves nothing behind."""
        write_atomically(self.file(step), content)
        return Checkpoint(step, len(content), hashlib.sha256(content).hexdigest())

    def read(self, checkpoint: Checkpoint) -> bytes:
        """The content of a checkpoint. Raises BadCheckpoint, and moves a bad file aside."""
        path = self.file(checkpoint.step)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadCheckpoint(f"{path.name} cannot be read: {error.strerror}") from error
        fault = self._fault(checkpoint, content)
        if fault:
            path.rename(path.with_suffix(".corrupt"))
            raise BadCheckpoint(f"{path.name} {fault}")
        return content

    def remove(self, checkpoint: Checkpoint) -> None:
        """Removes a checkpoint's file; it may be gone already."""
        self.file(checkpoint.step).unlink(missing_ok=True)

    def file(self, step: int) -> Path:
        """Where the checkpoint of a step stands."""
        return self._path / f"step-{step:09d}.safetensors"

    def _fault(self, checkpoint: Checkpoint, content: bytes) -> str:
        if hashlib.sha256(content).hexdigest() != checkpoint.sha256:
            return f"is damaged: its SHA-256 is not {checkpoint.sha256[:12]}…"
        if not self._is_ours(content):
            return "is of another job, another spec or another version of the arithmetic"
        return ""

    def _is_ours(self, content: bytes) -> bool:
        try:
            return dict(self._identity.metadata()).items() <= metadata(content).items()
        except BadTensorFile:
            return False


def to_prune(
    checkpoints: Iterable[Checkpoint], keep_last: int, *needs: Callable[[int], bool]
) -> tuple[Checkpoint, ...]:
    """The checkpoints that are too many, when the newest keep_last stay.

    Stays, too, for each need the newest one of a step that meets it.
    """
    newest_first = sorted(checkpoints, key=lambda checkpoint: -checkpoint.step)
    needed = [next((each for each in newest_first if meets(each.step)), None) for meets in needs]
    return tuple(each for each in newest_first[keep_last:] if each not in needed)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes a file so that a crash leaves the old one or the new one, never a part."""
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            reached(Point.CHECKPOINT_WRITE, name=path.name)
            file.write(content)
            file.flush()
            reached(Point.CHECKPOINT_FSYNC, name=path.name)
            os.fsync(file.fileno())
        reached(Point.CHECKPOINT_RENAME, name=path.name)
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
