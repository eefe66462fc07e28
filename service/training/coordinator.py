"""One training run as a pure state machine: an event comes in, commands go out.

The run is a sequence of rounds. A round is one piece of work at one committed step, divided among
the active workers, under a number that is never used again; it counts when all its answers are in,
and an answer to an older round is dropped. When a worker fails, the round is given to the others
under a new number. Committing a step costs no message of its own: the answers of its round travel
with the orders of the next one, and each worker adds them up and updates its own replica.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gradloom.service.jobs.spec import OnNonFinite
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.events import (
    Begin,
    Cancelled,
    CheckpointDue,
    Command,
    Commit,
    Draining,
    End,
    Event,
    KeepModel,
    KeepSnapshot,
    Located,
    MarkRunning,
    Measured,
    NotFinite,
    Report,
    Send,
    StartWorker,
    StopWorker,
    WorkerAnswered,
    WorkerFailed,
    WorkerReady,
)
from gradloom.service.training.policies import Failure, FailurePolicy, NonFinitePolicy
from gradloom.worker.messages import Compute, Content, Evaluate, Locate, Snapshot, Work


@dataclass(frozen=True, slots=True)
class Course:
    """What a run has to do: steps from start_step on, and the splits that are measured.

    validation_blocks and test_blocks are 0 where there is nothing to measure.
    """

    steps: int
    steps_per_epoch: int
    shards: int
    workers: int
    start_step: int = 0
    validation_blocks: int = 0
    test_blocks: int = 0
    non_finite: NonFinitePolicy = field(default_factory=NonFinitePolicy)

    def ends_epoch(self, step: int) -> bool:
        """Whether the step is the last one of an epoch."""
        return step > 0 and step % self.steps_per_epoch == 0


@dataclass(slots=True)
class _Worker:
    """What is known of a worker: None stands nowhere yet; step is the newest it was led to."""

    ready: bool = False
    step: int | None = None


def divide(parts: int, workers: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Consecutive ranges of parts for the workers, as even as can be; none is empty."""
    ordered = sorted(workers)[:parts]
    bounds = [i * parts // len(ordered) for i in range(len(ordered) + 1)]
    return {worker: (bounds[i], bounds[i + 1]) for i, worker in enumerate(ordered)}


class Coordinator:
    """Decides what the workers of one run do next. Knows no clock, array, thread or process."""

    def __init__(self, course: Course, policy: FailurePolicy, first_round: int = 1) -> None:
        self._course = course
        self._policy = policy
        self._workers: dict[int, _Worker] = {}
        self._next_worker = 0
        self._round = first_round - 1
        self._step = course.start_step
        self._running = False
        self._ended = False
        self._work: Work | None = None
        self._pending: set[int] = set()
        self._snapshot_step: int | None = None
        self._saved_step: int | None = course.start_step
        self._measured: set[tuple[str, int]] = set()
        self._checkpoint_due = False
        self._draining = False
        self._broken: NotFinite | None = None

    @property
    def step(self) -> int:
        """Committed updates."""
        return self._step

    @property
    def round(self) -> int:
        """Number of the newest round."""
        return self._round

    @property
    def policy(self) -> FailurePolicy:
        """The failures so far, for the run that may follow this one."""
        return self._policy

    @property
    def active(self) -> tuple[int, ...]:
        """Workers that take part in rounds."""
        return tuple(sorted(n for n, w in self._workers.items() if w.ready))

    def shares(self) -> dict[int, tuple[int, int]]:
        """Which shards each active worker computes."""
        return divide(self._course.shards, self.active) if self.active else {}

    def handle(self, event: Event) -> list[Command]:
        """The commands that follow from an event; none once the run has ended."""
        if self._ended:
            return []
        match event:
            case Begin():
                return self._begin()
            case WorkerReady(worker):
                return self._ready(worker)
            case WorkerAnswered(worker, number):
                return self._answered(worker, number)
            case WorkerFailed():
                return self._failed(event)
            case NotFinite():
                self._broken = event
                return self._next_round()
            case Located(worker, number, message):
                return self._located(worker, number, message)
            case CheckpointDue():
                self._checkpoint_due = True
                return []
            case Cancelled():
                message = f"Cancelled after {self._step} of {self._course.steps} steps."
                return self._end(State.CANCELLED, Reason.CANCEL_REQUESTED, message)
            case Draining():
                return self._drain()

    def _begin(self) -> list[Command]:
        return [self._start_worker() for _ in range(self._course.workers)]

    def _start_worker(self) -> Command:
        worker = self._next_worker
        self._next_worker += 1
        self._workers[worker] = _Worker()
        return StartWorker(worker)

    def _ready(self, number: int) -> list[Command]:
        worker = self._workers.get(number)
        if worker is None:
            return []
        worker.ready, worker.step = True, self._course.start_step
        return [] if self._running else self._run_when_all_ready()

    def _run_when_all_ready(self) -> list[Command]:
        if not all(worker.ready for worker in self._workers.values()):
            return []
        self._running = True
        return [MarkRunning(), *self._next_round()]

    def _answered(self, worker: int, number: int) -> list[Command]:
        if number != self._round or worker not in self._pending:
            return []
        if isinstance(self._work, Locate):
            return self._located(worker, number, "The worker that was asked where says nothing.")
        self._pending.discard(worker)
        return [] if self._pending else [*self._completed(), *self._next_round()]

    def _completed(self) -> list[Command]:
        """What the answers of the round that is now whole are for."""
        match self._work:
            case Compute():
                self._step += 1
                return [Commit(self._step)]
            case Evaluate(split):
                self._measured.add((split, self._step))
                return [Measured(split, self._step)]
            case Snapshot(Content.MODEL):
                message = f"All {self._step} steps are done."
                keep = KeepModel(self._step)
                return self._end(State.SUCCEEDED, Reason.COMPLETED, message, before=keep)
            case _:
                return [self._keep_snapshot()]

    def _located(self, worker: int, number: int, where: str) -> list[Command]:
        """Does what the job wants done about a step that is not finite."""
        broken = self._broken
        if number != self._round or worker not in self._pending or broken is None:
            return []
        self._pending.discard(worker)
        self._broken = None
        message = f"{broken.message} {where}"
        verdict = self._course.non_finite.verdict(broken.skipped, message)
        if verdict is not None:
            return self._end(State.FAILED, verdict.reason, verdict.message)
        if self._course.non_finite.wanted is OnNonFinite.ROLL_BACK:
            return self._end(None, Reason.ROLLED_BACK, message)
        report = Report(Reason.STEP_SKIPPED, -1, broken.step, message)
        return [report, *self._next_round()]

    def _keep_snapshot(self) -> Command:
        save = self._wants_saving
        self._snapshot_step = self._step
        if save:
            self._saved_step, self._checkpoint_due = self._step, False
        return KeepSnapshot(self._step, save)

    def _next_round(self) -> list[Command]:
        if self._ended:
            return []
        work = self._next_work()
        if work is None:
            return self._end(None, Reason.SERVICE_RESTARTED, "The service is stopping.")
        self._work = work
        self._round += 1
        return self._send(work)

    def _next_work(self) -> Work | None:
        """The next piece of work at this step; None where a draining run may let go."""
        if self._broken:
            return Locate()
        if self._wants_snapshot:
            return Snapshot(Content.STATE)
        if self._draining:
            return None
        for split, blocks in self._splits_due():
            if (split, self._step) not in self._measured:
                return Evaluate(split, 0, blocks)
        if self._step < self._course.steps:
            return Compute(0, self._course.shards)
        return Snapshot(Content.MODEL)

    @property
    def _is_last_step(self) -> bool:
        return self._step == self._course.steps

    @property
    def _wants_saving(self) -> bool:
        due = self._checkpoint_due or self._draining or self._is_last_step or self._may_go_back_here
        return due and self._saved_step != self._step

    @property
    def _may_go_back_here(self) -> bool:
        """Whether the job is rolled back to this step where a later one is not finite."""
        rolls_back = self._course.non_finite.wanted is OnNonFinite.ROLL_BACK
        return rolls_back and self._course.ends_epoch(self._step)

    @property
    def _wants_snapshot(self) -> bool:
        behind = any(
            w.ready and w.step is not None and w.step < self._step - 1
            for w in self._workers.values()
        )
        return self._wants_saving or (behind and self._snapshot_step != self._step)

    def _splits_due(self) -> list[tuple[str, int]]:
        course, due = self._course, []
        if course.validation_blocks and (course.ends_epoch(self._step) or self._is_last_step):
            due.append(("validation", course.validation_blocks))
        if course.test_blocks and self._is_last_step:
            due.append(("test", course.test_blocks))
        return due

    def _send(self, work: Work) -> list[Command]:
        sends = [self._send_to(worker, part) for worker, part in self._parts(work)]
        self._pending = {send.worker for send in sends}
        return list(sends)

    def _parts(self, work: Work) -> list[tuple[int, Work]]:
        match work:
            case Compute(_, shards):
                return [(w, Compute(*r)) for w, r in divide(shards, self.active).items()]
            case Evaluate(split, _, blocks):
                return [(w, Evaluate(split, *r)) for w, r in divide(blocks, self.active).items()]
            case Snapshot() | Locate():
                return [(self._most_advanced(), work)]

    def _most_advanced(self) -> int:
        return max(self.active, key=lambda number: (self._workers[number].step or 0, -number))

    def _send_to(self, number: int, work: Work) -> Send:
        worker = self._workers[number]
        stands_at = worker.step if worker.step is not None else -1
        worker.step = self._step
        return Send(
            number,
            self._round,
            self._step,
            work,
            load=stands_at < self._step - 1,
            advance=stands_at == self._step - 1,
        )

    def _failed(self, event: WorkerFailed) -> list[Command]:
        worker = self._workers.pop(event.worker, None)
        if worker is None:
            return []
        self._policy = self._policy.after(
            Failure(event.reason, event.message, self._step, self._round, worker.ready, event.time)
        )
        gone: list[Command] = [
            Report(event.reason, event.worker, self._step, event.message),
            StopWorker(event.worker),
        ]
        verdict = self._policy.verdict()
        if verdict is not None:
            return [*gone, *self._end(State.FAILED, verdict.reason, verdict.message)]
        return [*gone, *self._go_on_without(event.worker)]

    def _go_on_without(self, lost: int) -> list[Command]:
        """Asks for a replacement; a part of the round that was lost makes it a new round."""
        if self._running and not self._someone_has_the_state():
            return self._end(None, Reason.ALL_WORKERS_LOST, "No worker has the newest state.")
        replacement = self._start_worker()
        return [replacement, *(self._next_round() if lost in self._pending else [])]

    def _someone_has_the_state(self) -> bool:
        """Whether an active worker stands at the step, or one behind it."""
        steps = [self._workers[number].step for number in self.active]
        return any(step is not None and step >= self._step - 1 for step in steps)

    def _drain(self) -> list[Command]:
        self._draining = True
        if self._running:
            return []
        return self._end(None, Reason.SERVICE_RESTARTED, "The service is stopping.")

    def _end(
        self, state: State | None, reason: Reason, message: str = "", before: Command | None = None
    ) -> list[Command]:
        self._ended = True
        stops: list[Command] = [StopWorker(worker) for worker in sorted(self._workers)]
        return [*([before] if before else []), *stops, End(state, reason, message)]
