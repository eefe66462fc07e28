"""What can happen to a training run, and what can be done about it: plain data."""

from collections.abc import Mapping
from dataclasses import dataclass

from gradloom.service.jobs.states import Reason, State
from gradloom.worker.exchange.exchange import Why
from gradloom.worker.messages import Formation, Work


@dataclass(frozen=True, slots=True)
class Begin:
    """The run may start its workers."""


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker has its data and plan, and can begin where the run does.

    address is where it listens for its peers.
    """

    worker: int
    node: str = ""
    address: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class WorkerAnswered:
    """A worker did its part of a round and stands at a step.

    seconds are what it spent on the round, compute_seconds those on its own shards alone. digest
    is the hash of what others must come to as well: of the parameters, where it speaks for one of
    several cells. resident are the bytes of memory that it takes up. time is as in WorkerFailed.
    """

    worker: int
    round: int
    step: int
    seconds: float = 0.0
    compute_seconds: float = 0.0
    longest_step: float = 0.0
    digest: str = ""
    resident: int = 0
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class RoundBroken:
    """A worker could not end a round because of another one; it stands at a step.

    time is as in WorkerFailed.
    """

    worker: int
    round: int
    step: int
    culprit: int
    why: Why
    message: str
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class NoRoom:
    """A worker's node has too little shared memory for a cell; it lives on."""

    worker: int
    round: int
    message: str


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """A worker is gone or unfit: killed, raised an error, did not start in time, refused.

    time is in seconds of a clock that never goes back; log are the last lines of its output. stood
    is the step of the round at which it last said that it stands, -1 where it did not say.
    """

    worker: int
    reason: Reason
    message: str
    time: float = 0.0
    log: tuple[str, ...] = ()
    stood: int = -1


@dataclass(frozen=True, slots=True)
class Silent:
    """A worker owes an answer to a round, and nothing came of it for longer than it may be silent.

    stood and time are as in WorkerFailed.
    """

    worker: int
    round: int
    seconds: float
    stood: int = -1
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class RoundOverdue:
    """The time that was last set for a round has passed; time is as in WorkerFailed."""

    round: int
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class NotFinite:
    """The loss or the gradient of a step of the round is infinite or not a number: it was skipped.

    Comes before the answers that make the round whole. skipped are the newest steps in a row that
    were.
    """

    round: int
    step: int
    skipped: int
    message: str


@dataclass(frozen=True, slots=True)
class NodesSuspect:
    """How many deaths of this job's workers nodes have left before they are drained.

    0 where a node is drained. Only nodes are named on which workers of other jobs died.
    """

    lives: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Resized:
    """The run may have so many workers from now on, and needs the least to begin."""

    least: int
    workers: int


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
    | RoundBroken
    | NoRoom
    | WorkerFailed
    | Silent
    | RoundOverdue
    | NotFinite
    | NodesSuspect
    | Resized
    | Located
    | CheckpointDue
    | Cancelled
    | Draining
)


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker under a number that was never used in this run, after so many seconds."""

    worker: int
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Make sure a worker is gone."""

    worker: int


@dataclass(frozen=True, slots=True)
class Form:
    """The members divide the shards in a new way from the next round on."""

    formation: Formation


@dataclass(frozen=True, slots=True)
class Expect:
    """A round has so many seconds from now on; this takes the place of what was set before."""

    round: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """Give a worker its part of a round.

    load: with the newest snapshot, since nobody in its cell holds the state. fence: after these
    processes of its node have ended.
    """

    worker: int
    round: int
    step: int
    formation: Formation
    work: Work
    load: bool = False
    fence: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MarkRunning:
    """All workers that will be there at the start are ready."""


@dataclass(frozen=True, slots=True)
class Commit:
    """All steps up to this one count."""

    step: int


@dataclass(frozen=True, slots=True)
class KeepStatistics:
    """The round's answers are a part of the metrics of a split."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All parts kept together are the metrics of a split at this step."""

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
    node: str = ""


@dataclass(frozen=True, slots=True)
class Forget:
    """No checkpoint after this step is good. That is done before all that it comes with.

    What is told of it takes time, in which the service may be killed.
    """

    step: int


@dataclass(frozen=True, slots=True)
class End:
    """The run is over; state is None where another run is to go on from a checkpoint."""

    state: State | None
    reason: Reason
    message: str = ""


Command = (
    StartWorker
    | StopWorker
    | Form
    | Expect
    | Send
    | MarkRunning
    | Commit
    | KeepStatistics
    | Measured
    | KeepSnapshot
    | KeepModel
    | Report
    | Forget
    | End
)
