"""Keeps a job's state and its trained model on disk, and finds the newest whole state again."""

from pathlib import Path

from gradloom.service.errors import QuotaExceeded
from gradloom.service.faults import Point, reached
from gradloom.service.jobs.job import Checkpoint, CheckpointWritten, IncidentHappened, Job
from gradloom.service.jobs.spec import OnNonFinite
from gradloom.service.jobs.states import Reason
from gradloom.service.training.checkpoints import (
    BadCheckpoint,
    CheckpointFolder,
    Identity,
    to_prune,
    write_atomically,
)
from gradloom.service.training.surroundings import Surroundings
from gradloom.service.training.task import plan_of
from gradloom.worker.messages import Answer


class Keeper:
    """The files of one job."""

    def __init__(self, job: Job, identity: Identity, around: Surroundings) -> None:
        self._job = job
        self._around = around
        self._store = around.store
        self._folder = CheckpointFolder(around.folder(job) / "checkpoints", identity)

    def newest(self) -> tuple[int, bytes | None]:
        """The newest whole state and its step; step 0 and None where there is none."""
        for stored in self._store.checkpoints(self._job.name):
            try:
                return stored.checkpoint.step, self._folder.read(stored.checkpoint)
            except BadCheckpoint as error:
                self._give_up(stored.checkpoint, str(error))
        return 0, None

    def _give_up(self, checkpoint: Checkpoint, why: str) -> None:
        self._store.remove_checkpoint(self._job.name, checkpoint.step)
        message = f"The checkpoint of step {checkpoint.step} is not used: {why}."
        self._tell(Reason.CHECKPOINT_CORRUPT, checkpoint.step, message)
        self._around.metrics.checkpoint_failed("checksum")

    def save(self, step: int, state: bytes | memoryview, good_step: int) -> None:
        """Puts a state on disk and removes those that are too many.

        The newest that is not after the good step stays. A disk that fails costs the checkpoint,
        not the training: the ones before stay.
        """
        begun = self._around.monotonic()
        try:
            checkpoint = self._folder.write(step, state)
        except OSError as error:
            message = f"The checkpoint of step {step} could not be written: {error}."
            self._tell(Reason.CHECKPOINT_FAILED, step, message)
            self._around.metrics.checkpoint_failed("io")
            return
        reached(Point.CHECKPOINT_ROW, name=self._folder.file(step).name)
        self._store.add_checkpoint(self._job.name, checkpoint, str(self._folder.file(step)))
        self._store.record(self._job.name, CheckpointWritten(checkpoint))
        self._prune(good_step)
        seconds = self._around.monotonic() - begun
        self._around.metrics.checkpoint_written(self._job, checkpoint, seconds)

    def _prune(self, good_step: int) -> None:
        kept = [stored.checkpoint for stored in self._store.checkpoints(self._job.name)]
        keep_last = self._job.spec.checkpoints.keep_last
        needs = (self._may_go_back_to, lambda step: step <= good_step)
        for checkpoint in to_prune(kept, keep_last, *needs):
            self._remove(checkpoint)

    def _may_go_back_to(self, step: int) -> bool:
        """Whether the job would be rolled back to this step."""
        rolls_back = self._job.spec.training.on_non_finite is OnNonFinite.ROLL_BACK
        return rolls_back and step % plan_of(self._job).steps_per_epoch == 0

    def go_back(self) -> int:
        """Removes what is newer than the end of the last whole epoch; the step gone back to.

        Checkpoints are taken when time has passed: to go on from any other of them would make the
        result depend on it.
        """
        for stored in self._store.checkpoints(self._job.name):
            if self._may_go_back_to(stored.checkpoint.step):
                return stored.checkpoint.step
            self._remove(stored.checkpoint)
        return 0

    def forget_after(self, step: int) -> None:
        """Removes what is newer than a step, as its bits may be wrong."""
        for stored in self._store.checkpoints(self._job.name):
            if stored.checkpoint.step > step:
                self._remove(stored.checkpoint)

    def _remove(self, checkpoint: Checkpoint) -> None:
        self._store.remove_checkpoint(self._job.name, checkpoint.step)
        self._folder.remove(checkpoint)

    def _tell(self, reason: Reason, step: int, message: str) -> None:
        self._store.record(self._job.name, IncidentHappened(reason, message, step=step))

    def keep_model(self, answer: Answer) -> tuple[str, str]:
        """Puts the trained model on disk: its path and the hash of its weights.

        Raises QuotaExceeded where the disk does not take it: the job is taken up again later.
        """
        path = self._around.folder(self._job) / "model.safetensors"
        try:
            write_atomically(path, answer.body)
        except OSError as error:
            raise _no_disk(path, error) from error
        return str(path), str(answer.facts.get("weights_sha256"))


def _no_disk(path: Path, error: OSError) -> QuotaExceeded:
    return QuotaExceeded(
        f"{path} could not be written: {error.strerror}. Make room on its disk.",
        reason="MODEL_NOT_WRITTEN",
        metadata={"path": str(path)},
    )
