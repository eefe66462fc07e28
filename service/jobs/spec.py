"""A training job as frozen data: what protos/gradloom/v1/specs.proto says, with its defaults."""

from dataclasses import dataclass, field
from enum import StrEnum

from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.spec import ConstantSchedule, Loss, Model, Optimizer, Schedule


class OnNonFinite(StrEnum):
    """What becomes of a job when the loss or the gradient of a step is not finite."""

    FAIL = "fail"
    SKIP_STEP = "skip_step"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class Training:
    """Batch size, length (epochs or steps, the other 0) and virtual shards (0: the default).

    shards are those of one of the accumulation_steps batches that make an update. verify_every are
    the steps between two spot checks, 0 for none.
    """

    batch_size: int
    epochs: int = 0
    steps: int = 0
    shards: int = 0
    accumulation_steps: int = 1
    on_non_finite: OnNonFinite = OnNonFinite.FAIL
    roll_back_factor: float = 0.5
    verify_every: int = 200

    @property
    def update_rows(self) -> int:
        """Rows of an update."""
        return self.batch_size * self.accumulation_steps


@dataclass(frozen=True, slots=True)
class Resources:
    """Workers wanted, and the failures blamed on the job before it is given up.

    min_workers and max_workers bound what the job may have to go on; 0 is as many as workers.
    """

    workers: int = 1
    max_failures: int = 10
    min_workers: int = 0
    max_workers: int = 0

    @property
    def fewest(self) -> int:
        """Workers the job starts, and goes on, with at least."""
        return self.min_workers or self.workers

    @property
    def most(self) -> int:
        """Workers the job may grow to."""
        return self.max_workers or self.workers


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Seconds between two checkpoints, and how many of the newest are kept."""

    interval: float = 30.0
    keep_last: int = 2


@dataclass(frozen=True, slots=True)
class HealthSpec:
    """Steps between two looks at the layers, 0 for none."""

    interval: int = 100


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A training job; resources, checkpoints and health never change its result."""

    name: str
    data: DataSpec
    model: Model
    loss: Loss
    optimizer: Optimizer
    training: Training
    seed: int = 0
    schedule: Schedule = field(default_factory=ConstantSchedule)
    resources: Resources = field(default_factory=Resources)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    health: HealthSpec = field(default_factory=HealthSpec)
