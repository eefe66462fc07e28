"""What must hold of every run, I01 to I16 of the reliability document as far as they show here."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from gradloom.service.jobs.job import IncidentHappened, Job, Metric, Progressed, StateChanged
from gradloom.service.jobs.states import TRANSITIONS, Reason, State
from gradloom.service.jobs.store import JobStore
from gradloom.service.training.progress import StepReport
from tests.simulation.reference import Reference
from tests.simulation.worker import restored

# Nothing waits longer than this without a step, a move or a word: who measures or hands over the
# state has ten minutes.
LONGEST_STANDSTILL = 660.0

_NEEDS_A_CULPRIT = frozenset(
    {Reason.WORKER_LOST, Reason.WORKER_FROZEN, Reason.WORKER_ERROR, Reason.NETWORK_CUT}
)
# How a job may end that was struck so often.
_BLAMES = {
    Reason.CRASH_LOOP: 3,
    Reason.WORKER_START_FAILED: 3,
    Reason.TOO_MANY_FAILURES: 10,
}


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class Trace:
    """What was seen of one job."""

    reference: Reference
    attempt: int = 0
    step: int = 0
    losses: dict[tuple[int, int], float] = field(default_factory=dict)
    last_news: float = 0.0
    is_cancelled: bool = False


class Witness:
    """Sees every commit, step, measurement and file of a run, and complains of the first breach.

    It takes the place of the metrics, which hear of all that.
    """

    def __init__(self, time: object) -> None:
        self.broken: str = ""
        self._time = time
        self._traces: dict[str, Trace] = {}

    def expects(self, name: str, reference: Reference) -> None:
        """A job is about to be submitted."""
        self._traces[name] = Trace(reference, last_news=self.now)

    @property
    def now(self) -> float:
        """The virtual time."""
        return self._time()  # type: ignore[operator,no-any-return]

    def complain(self, invariant: str, what: str) -> None:
        """Keeps the first breach."""
        if not self.broken:
            self.broken = f"{invariant}: {what}, at {self.now:.4f} s"

    def check(self, holds: object, invariant: str, what: str) -> None:
        """Complains where something does not hold."""
        if not holds:
            self.complain(invariant, what)

    # While it runs.

    def committed(self, before: Job, after: Job) -> None:
        """A job's record was changed."""
        trace = self._traces[after.name]
        moves = after.transitions[len(before.transitions) :]
        state = moves[-1].state if moves else before.state
        self.check(after.state is state, "I01", f"{after.name} is {after.state}, moved to {state}")
        for last, move in pairwise((before.state, *(each.state for each in moves))):
            legal = move in TRANSITIONS[last]
            self.check(legal, "I01", f"{after.name} moves from {last} to {move}")
            self.check(not last.is_final, "I02", f"{after.name} leaves {last}")
            trace.last_news = self.now
        self.check(after.revision >= before.revision, "I01", "a revision goes back")
        if len(after.attempts) > len(before.attempts):
            start = after.attempts[-1].start_step
            trace.attempt, trace.step = len(after.attempts), start
            trace.last_news = self.now
        if (after.message, after.queue) != (before.message, before.queue):
            trace.last_news = self.now

    def step_committed(self, job: Job, report: StepReport, warmth: str = "") -> None:
        """A step counts; those that are skipped are not told of."""
        trace = self._traces[job.name]
        trace.last_news = self.now
        expected = trace.reference.losses.get((job.receipt.roll_backs, report.step))
        self.check(
            report.step > trace.step,
            "I09",
            f"{job.name} commits step {report.step} after {trace.step}",
        )
        trace.step = report.step
        self.check(
            report.loss == expected,
            "I08",
            f"step {report.step} of {job.name} comes to {report.loss}, it is {expected}",
        )

    def measured(self, job: Job, metrics: Iterable[Metric]) -> None:
        """A split was measured."""
        trace = self._traces[job.name]
        trace.last_news = self.now
        for metric in metrics:
            if metric.name == "loss":
                key = (job.receipt.roll_backs, metric.step)
                expected = trace.reference.validation.get(key)
                self.check(
                    metric.value == expected,
                    "I08",
                    f"{job.name} is measured {metric.value} at {metric.step}, it is {expected}",
                )

    def checkpoint_written(self, job: Job, checkpoint: Any, seconds: float) -> None:
        """A checkpoint is on disk and in the store."""
        self._traces[job.name].last_news = self.now

    def file_written(self, name: str, content: bytes, roll_backs: int) -> None:
        """A state is on disk: it is the undisturbed run's at its step."""
        blocks, standing = restored(content)
        expected = self._traces[name].reference.blocks.get((roll_backs, standing.step))
        self.check(blocks == expected, "I08", f"{name} keeps another state of step {standing.step}")

    def incident(self, before: Job, event: IncidentHappened) -> None:
        """Something went wrong and was told."""
        self._traces[before.name].last_news = self.now
        # No simulated worker raises an error but where it is told what cannot be.
        is_told_wrong = event.reason is Reason.WORKER_ERROR
        self.check(not is_told_wrong, "I09", f"{before.name}: {event.message}")
        if event.reason in _NEEDS_A_CULPRIT:
            self.check(event.worker >= 0, "I14", f"{event.reason} of {before.name} names nobody")

    def __getattr__(self, name: str) -> object:
        """The other metrics are of no interest here."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_args, **_kwargs: None

    def is_moving(self, unfinished: Iterable[Job]) -> None:
        """I15, to be asked now and then: nothing stands still and says nothing."""
        for job in unfinished:
            since = self.now - self._traces[job.name].last_news
            if job.state is not State.QUEUED:
                self.check(since < LONGEST_STANDSTILL, "I15", f"{job.name} stands still: {job}")

    def news(self) -> None:
        """A life of the service begins: nothing could have moved before."""
        for trace in self._traces.values():
            trace.last_news = self.now

    # Afterwards.

    def ended(self, store: JobStore, name: str, folder: Path, strikes: int) -> None:
        """Everything that must hold of a job that has ended."""
        job, trace = store.get(name), self._traces[name]
        reference = trace.reference
        if not job.state.is_final:
            self.complain("I15", f"{name} never ends: {job.state} {job.reason} {job.message}")
            return
        self._history(store, job)
        match job.state:
            case State.SUCCEEDED:
                self.check(reference.state is State.SUCCEEDED, "I07", f"{name} succeeds")
                found = job.receipt.weights_sha256
                self.check(
                    found == reference.weights,
                    "I07",
                    f"{name} ends with {found}, undisturbed with {reference.weights}",
                )
            case State.CANCELLED:
                self.check(trace.is_cancelled, "I02", f"{name} ends cancelled, nobody asked")
            case _:
                self._failed(job, reference, strikes)
        self._files(store, job, folder)

    def cancelled(self, name: str) -> None:
        """The user wants the job to end."""
        self._traces[name].is_cancelled = True

    def _failed(self, job: Job, reference: Reference, strikes: int) -> None:
        if reference.state is State.FAILED and job.reason is reference.reason:
            return
        allowed = job.reason in _BLAMES and strikes >= _BLAMES[job.reason]
        self.check(allowed, "I07", f"{job.name} fails: {job.reason} {job.message}")

    def _history(self, store: JobStore, job: Job) -> None:
        history = store.history(job.name, 0, 100_000)
        revisions = [each.revision for each in history]
        self.check(revisions == list(range(1, len(history) + 1)), "I01", "revisions have gaps")
        moves = [each.event.state for each in history if isinstance(each.event, StateChanged)]
        for state, then in pairwise(moves):
            self.check(then in TRANSITIONS[state], "I01", f"{job.name}: {state} to {then}")
        self.check(moves[-1] is job.state, "I01", f"{job.name} ends otherwise than its history")
        for each in history:
            if isinstance(each.event, Progressed):
                self.check(each.event.progress.step <= job.plan.steps, "I09", "too many steps")  # type: ignore[union-attr]

    def _files(self, store: JobStore, job: Job, folder: Path) -> None:
        rows = {Path(stored.path) for stored in store.checkpoints(job.name)}
        for path in rows:
            self.check(path.is_file(), "I12", f"{path.name} of {job.name} is in the store alone")


def read(path: Path) -> dict[str, Any]:
    """The metadata of a file of a state."""
    content = path.read_bytes()
    found: dict[str, Any] = json.loads(content[8:])["__metadata__"]
    return found
