"""Workers of one job, wherever they run: started, given orders, listened to, stopped."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gradloom.service.jobs.states import Reason
from gradloom.worker.messages import Answer, AnswerKind, BadAnswer, Order, Task, decode


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has loaded its task; its answer's facts say where and what it is.

    warm: it was there before it was asked for.
    """

    worker: int
    answer: Answer
    warm: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A worker answered an order and lives on; encoded is the answer as it came."""

    worker: int
    answer: Answer
    encoded: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker will answer no more: it died, could not start or raised an error.

    log are the last lines that it wrote, where they can be read; node is the host it was on, as
    its READY named it, empty where it never was ready.
    """

    worker: int
    reason: Reason
    message: str
    log: tuple[str, ...] = ()
    node: str = ""


@dataclass(frozen=True, slots=True)
class Alive:
    """A worker that owes an answer is at work on it; its beat says where it stands."""

    worker: int
    beat: Answer


WorkerEvent = Ready | Answered | Gone | Alive


class WorkerGroup(Protocol):
    """The workers of one job. Used by one thread, which never waits longer than it asked to.

    A group has as many workers as were started and not stopped: it grows by start, and gives room
    back by stop. start and poll raise Unavailable where what runs the workers is lost; the
    group is then closed, and its job waits for as long as the fleet is in trouble.
    """

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """Begins to start a worker from a state, or from the seed; Ready or Gone follows."""

    def order(self, worker: int, order: Order) -> None:
        """Gives a worker an order; Answered or Gone follows. One that is gone gets nothing.

        Alive comes every half second or so until then, as it does while a worker starts.
        """

    def stop(self, worker: int) -> bool:
        """Ends a worker and awaits its end; no event follows. Whether it is known to have ended.

        It is not where its node cannot be asked, or the kernel cannot end it, within seconds.
        """

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        """What happened, waiting up to timeout seconds for the first of it."""

    def close(self) -> None:
        """Lets go of all workers: those that did well may serve other jobs, others are ended."""


class Fleet(Protocol):
    """Where workers run."""

    @property
    def cpus(self) -> int:
        """CPUs that may be given to workers; they change as nodes come and go."""

    @property
    def may_share(self) -> bool:
        """Whether more workers than CPUs may share them."""

    @property
    def trouble(self) -> str:
        """Why no worker can be started at present, as a sentence; empty where all is well."""

    @property
    def nodes(self) -> frozenset[str]:
        """The names of the nodes that live, as workers that are ready name them."""

    def avoid(self, nodes: frozenset[str]) -> None:
        """Places new workers on other nodes only, until it is told otherwise."""

    def lacks(self, workers: int) -> str:
        """Why so many new workers would not all find a place now, in words; empty where they do."""

    def group(self, name: str, workers: int, log_folder: Path, profile: str) -> WorkerGroup:
        """A group for a job that means to begin with so many workers; output goes to log_folder.

        The profile is that of the arithmetic they are started with.
        """

    def close(self) -> None:
        """Lets go of everything."""


def event_of(worker: int, answer: Answer, encoded: bytes) -> WorkerEvent:
    """The event that a worker's answer is."""
    match answer.kind:
        case "beat":
            return Alive(worker, answer)
        case "ready":
            return Ready(worker, answer)
        case "error" if answer.facts.get("reason") not in _LIVES_ON:
            return Gone(worker, _reason(answer), str(answer.facts.get("message", "")))
        case _:
            return Answered(worker, answer, encoded)


def is_beat(encoded: bytes) -> bool:
    """Whether what a worker says is no answer, and only that it lives."""
    try:
        return decode(encoded).kind is AnswerKind.BEAT
    except BadAnswer:
        return False


# Errors after which a worker is as good as before: the coordinator has it go on in another way.
_LIVES_ON = frozenset({"SHM_TOO_SMALL"})


def _reason(answer: Answer) -> Reason:
    """What a worker says went wrong, as far as the words are ours."""
    try:
        return Reason(str(answer.facts.get("reason")))
    except ValueError:
        return Reason.WORKER_ERROR
