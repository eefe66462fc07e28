"""What can happen to a training run, and what can be done about it: plain data."""

from dataclasses import dataclass, field

from gradloom.service.jobs.states import Reason, State
from gradloom.worker.messages import Work


@dataclass(frozen=True, slots=True)
class Begin:
    """The run may start its workers."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker has its data and plan, and stands at the step the run began with."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerAnswered:
    """A worker did its part of a round."""

    worker: int
    round: int


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """A worker is gone or unfit: killed, raised an error, did not start in time, refused.

    time is in seconds of a clock that never goes back.
    """

    worker: int
    reason: Reason
    message: str
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class NotFinite:
    """The loss or the gradient of a committed step is infinite or not a number: it was skipped.

    skipped are the newest steps in a row that were.
    """

    step: int
    skipped: int
    message: str


@dataclass(frozen=True, slots=True)
class Located:
    """A worker found where a step that is not finite was first so, as a sentence."""

    worker: int
    round: int
    message: str


@dataclass(frozen=True, slots=True)
class CheckpointDue:
    """The time between two checkpoints has passed."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The user wants the job to end."""


@dataclass(frozen=True, slots=True)
class Draining:
    """The service is about to stop: keep what there is and let go."""


Event = (
    Begin
    | WorkerReady
    | WorkerAnswered
    | WorkerFailed
    | NotFinite
    | Located
    | CheckpointDue
    | Cancelled
    | Draining
)


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker under a number that was never used in this run."""

    worker: int


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Make sure a worker is gone."""

    worker: int


@dataclass(frozen=True, slots=True)
class Send:
    """Give a worker its part of a round.

    load: with the newest snapshot, since it stands nowhere near. advance: with the answers of the
    step before, since it stands one step behind.
    """

    worker: int
    round: int
    step: int
    work: Work
    load: bool = False
    advance: bool = False


@dataclass(frozen=True, slots=True)
class MarkRunning:
    """All workers that will be there at the start are ready."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The round's answers make this step: keep them until the next one."""

    step: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The round's answers are the metrics of a split at this step."""

    split: str
    step: int


@dataclass(frozen=True, slots=True)
class KeepSnapshot:
    """The round's answer is the state at this step: for workers that join, and for the disk."""

    step: int
    save: bool


@dataclass(frozen=True, slots=True)
class KeepModel:
    """The round's answer is the trained model."""

    step: int


@dataclass(frozen=True, slots=True)
class Report:
    """Tell of something that went wrong and was dealt with; worker -1 stands for none."""

    reason: Reason
    worker: int
    step: int
    message: str


@dataclass(frozen=True, slots=True)
class End:
    """The run is over; state is None where another run is to go on from a checkpoint."""

    state: State | None
    reason: Reason
    message: str = field(default="")


Command = (
    StartWorker
    | StopWorker
    | Send
    | MarkRunning
    | Commit
    | Measured
    | KeepSnapshot
    | KeepModel
    | Report
    | End
)
