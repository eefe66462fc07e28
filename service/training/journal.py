"""Tells the store and the metrics what a run does: states, attempts, progress, incidents."""

from dataclasses import replace

from gradloom.service.errors import WrongState
from gradloom.service.jobs.job import (
    Assignment,
    Attempt,
    Diagnosed,
    Diagnosis,
    Event,
    IncidentHappened,
    Job,
    Metric,
    Progress,
    Progressed,
    StateChanged,
)
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.events import End, Report
from gradloom.service.training.progress import StepReport
from gradloom.service.training.surroundings import Surroundings
from gradloom.service.training.task import rate_factor
from gradloom.worker.engine.health import Health


class Journal:
    """The record of one job, kept as it runs.

    That it runs, and what no event tells (attempts, assignments, the receipt), is written with the
    event that follows, or by write: a transaction takes milliseconds, which workers that make their
    first step in some tens of them have a better use for.
    """

    def __init__(self, name: str, around: Surroundings) -> None:
        self.job: Job = around.store.get(name)
        self._changes: dict[str, object] = {}
        self._moves: tuple[StateChanged, ...] = ()
        self._around = around
        self._store = around.store
        self._metrics = around.metrics

    def move(self, state: State, reason: Reason, message: str = "") -> None:
        """Moves the job; one whose user wants it to end ends CANCELLED instead."""
        try:
            self._record(StateChanged(state, reason, message))
        except WrongState:
            self._move_past_a_wish(state)
        self._metrics.state(self.job)

    def runs(self, message: str) -> None:
        """The workers are ready, and training begins."""
        self._moves = (StateChanged(State.RUNNING, Reason.WORKERS_READY, message),)

    def suspended(self, reason: Reason, message: str) -> None:
        """The job waits for what its run cannot go on without."""
        self.write()
        if self.job.state is not State.RECOVERING:
            self.move(State.RECOVERING, reason, message)
            return
        self._change(reason=reason, message=message)
        self._record(IncidentHappened(reason, message))

    def _move_past_a_wish(self, state: State) -> None:
        """The user cancelled while the job was about to move: only its end is still a move."""
        self.job = self._with_changes(self._store.get(self.job.name))
        if self.job.state is State.CANCELLING and state.is_final:
            self._record(StateChanged(State.CANCELLED, Reason.CANCEL_REQUESTED))

    def attempt_begins(self, start_step: int) -> None:
        """Workers are started; times that they found no place do not count."""
        before = tuple(attempt for attempt in self.job.attempts if attempt.found_a_place)
        attempt = Attempt(len(before) + 1, self._around.now(), start_step)
        self._change(attempts=(*before, attempt))
        if before:  # it is the first step of a job that somebody waits for
            self.write()

    def attempt_ends(self, end: End) -> None:
        """The workers are gone."""
        *before, last = self.job.attempts
        ended = replace(last, end_time=self._around.now(), cause=end.reason, message=end.message)
        self._change(attempts=(*before, ended), assignments=())
        self._metrics.workers(self.job, 0, 0)

    def assigned(self, assignments: tuple[Assignment, ...], desired: int) -> None:
        """The workers share the shards anew."""
        self._metrics.workers(self.job, len(assignments), desired)
        if assignments != self.job.assignments:
            self._change(assignments=assignments)

    def arithmetic(self, profile: str, selftest: str) -> None:
        """The first worker says which arithmetic the job is computed with."""
        self._change(receipt=replace(self.job.receipt, profile=profile, selftest_sha256=selftest))

    def trained(self, model_path: str, weights_sha256: str) -> None:
        """The model is on disk."""
        self._change(
            receipt=replace(self.job.receipt, model_path=model_path, weights_sha256=weights_sha256)
        )

    def rolled_back(self, step: int, why: str) -> str:
        """The job goes on from this step with a lower rate, says the sentence that comes out."""
        self._change(receipt=replace(self.job.receipt, roll_backs=self.job.receipt.roll_backs + 1))
        message = f"{why} Back to step {step} with learning rates × {rate_factor(self.job):g}."
        self._record(IncidentHappened(Reason.ROLLED_BACK, message, step=step))
        return message

    def _change(self, **fields: object) -> None:
        self._changes |= fields
        self.job = self._with_changes(self.job)

    def _with_changes(self, job: Job) -> Job:
        # replace() checks the names; the values' types are those of the callers of _change.
        return replace(job, **self._changes)  # type: ignore[arg-type]

    def write(self) -> None:
        """Writes down what has happened and waits for an event."""
        if self._changes or self._moves:
            self._record()

    def _record(self, *events: Event) -> None:
        moves = self._moves
        change = self._with_changes if self._changes else None
        try:
            self.job = self._store.record(self.job.name, *moves, *events, change=change)
        except WrongState:
            if not moves:
                raise
            self._moves = ()  # the user cancelled meanwhile
            self._record(*events)
            return
        self._changes, self._moves = {}, ()
        if moves:
            self._metrics.state(self.job)

    def committed(self, report: StepReport, *, warm: bool) -> None:
        """A step is committed, by workers that were all there before the job was, or not."""
        self._metrics.step_committed(self.job, report, "warm" if warm else "cold")

    def measured(self, metrics: tuple[Metric, ...]) -> None:
        """A split was measured."""
        self._metrics.measured(self.job, metrics)

    def progressed(self, progress: Progress) -> None:
        """A sample of the progress for those who watch."""
        self._record(Progressed(progress))
        self._metrics.progressed(self.job, progress)

    def diagnosed(self, diagnosis: Diagnosis) -> None:
        """Something was found wrong with the training."""
        self._record(Diagnosed(diagnosis))
        self._metrics.diagnosed(self.job, diagnosis.code)

    def looked(self, health: Health) -> None:
        """The layers were looked at."""
        self._metrics.looked(self.job, health)

    def answer_came_late(self) -> None:
        """A worker answered to a round that was over."""
        self._metrics.answer_came_late(self.job)

    def worker_restarts(self) -> None:
        """A worker is started in place of one that was lost."""
        self._metrics.worker_restarted(self.job)

    def incident(self, report: Report, node: str) -> None:
        """Something went wrong and was dealt with."""
        self._record(
            IncidentHappened(report.reason, report.message, report.worker, node, report.step)
        )
        if report.worker >= 0:
            self._metrics.worker_lost(self.job, report.reason)
