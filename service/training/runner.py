"""Carries one job from the start of its workers to its end: does what the coordinator decides."""

import secrets
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from json import dumps

import structlog

from gradloom.service.errors import QuotaExceeded, Unavailable
from gradloom.service.fleet.group import Alive, Answered, Gone, Ready, WorkerEvent
from gradloom.service.job_file import json_form
from gradloom.service.jobs.job import Assignment
from gradloom.service.jobs.states import Reason, State
from gradloom.service.series import CAUSES
from gradloom.service.training.answers import (
    MESSAGE_LENGTH,
    baseline,
    broken,
    done,
    integer,
    location,
    sign,
    total,
    versions,
)
from gradloom.service.training.checkpoints import Identity
from gradloom.service.training.coordinator import Coordinator
from gradloom.service.training.deadlines import START
from gradloom.service.training.diagnoses import Doctor
from gradloom.service.training.events import (
    Begin,
    Cancelled,
    CheckpointDue,
    Command,
    Commit,
    Draining,
    End,
    Event,
    Expect,
    Forget,
    Form,
    KeepModel,
    KeepSnapshot,
    KeepStatistics,
    Located,
    MarkRunning,
    Measured,
    NodesSuspect,
    NoRoom,
    NotFinite,
    Report,
    Resized,
    RoundOverdue,
    Send,
    StartWorker,
    StopWorker,
    WorkerFailed,
    WorkerReady,
)
from gradloom.service.training.journal import Journal
from gradloom.service.training.keeper import Keeper
from gradloom.service.training.policies import FailurePolicy
from gradloom.service.training.progress import ProgressLog, StepReport
from gradloom.service.training.rounds import Rounds
from gradloom.service.training.skew import skew
from gradloom.service.training.surroundings import Surroundings, Wishes
from gradloom.service.training.suspects import DEATHS, Death
from gradloom.service.training.task import course_of, plan_of, task_of
from gradloom.service.training.watch import Watch
from gradloom.service.wire import spec_to_wire
from gradloom.worker.data.batches import block_bounds
from gradloom.worker.engine.metrics import summarize
from gradloom.worker.engine.profile import BITS_VERSION
from gradloom.worker.exchange.segment import sweep
from gradloom.worker.messages import (
    Answer,
    AnswerKind,
    BadAnswer,
    Content,
    Formation,
    Order,
    Snapshot,
    Work,
)

log = structlog.get_logger()

_POLL_SECONDS = 0.1
# The members go on meanwhile: to write down what fifty steps came to takes milliseconds. They make
# sure themselves that a process whose memory they share has ended; to await that of a node that is
# lost takes a while.
_AFTER_ORDERS = (Commit, Report, StopWorker, StartWorker, End)
_KEY_BYTES = 32


def run(name: str, around: Surroundings, wishes: Wishes) -> None:
    """Trains a job to its end; see turns."""
    for _ in turns(name, around, wishes):
        pass


def turns(name: str, around: Surroundings, wishes: Wishes) -> Generator[None, None, None]:
    """Trains a job to its end, in as many runs as it takes; before each look at workers it yields.

    A run that loses all its workers is followed by one from the newest whole checkpoint. Where
    the store cannot be written to, or Ray is lost, the job is left as it stands there, to be taken
    up again.
    """
    journal = Journal(name, around)
    try:
        yield from _run_to_the_end(journal, around, wishes)
    except (Unavailable, QuotaExceeded) as error:
        log.warning("run_suspended", job=name, error=str(error))
        if error.reason == Reason.RAY_UNREACHABLE:
            journal.suspended(Reason.RAY_UNREACHABLE, error.message)
    except Exception:
        incident = uuid.uuid4().hex[:12]
        log.exception("run_failed", job=name, incident=incident)
        message = f"A bug of Gradloom's, incident {incident}: see the service's log."
        journal.move(State.FAILED, Reason.INTERNAL_FAULT, message)


def _run_to_the_end(
    journal: Journal, around: Surroundings, wishes: Wishes
) -> Generator[None, None, None]:
    around.metrics.job_started(journal.job)
    began = journal.job.receipt.bits_version
    if began != BITS_VERSION:
        journal.move(State.FAILED, Reason.ENGINE_CHANGED, _engine_changed(began))
        return
    policy, first_round = FailurePolicy(journal.job.spec.resources.max_failures), 1
    while True:
        attempt = Run(journal, around, wishes, policy, first_round)
        end = yield from attempt.carry_out()
        if end.state is not None:
            journal.move(end.state, end.reason, end.message)
            return
        if end.reason is Reason.ROLLED_BACK:
            end = attempt.roll_back(end)
        if wishes.drain.is_set():
            journal.write()
            return
        journal.move(State.RECOVERING, end.reason, end.message)
        policy, first_round = attempt.coordinator.policy, attempt.coordinator.round + 1


class Run:
    """One run of a job with one set of workers, from a checkpoint or from the seed."""

    def __init__(
        self,
        journal: Journal,
        around: Surroundings,
        wishes: Wishes,
        policy: FailurePolicy,
        first_round: int,
    ) -> None:
        job = journal.job
        for node in around.suspects.drained(around.monotonic()):
            policy = policy.excusing(node)
        self._journal = journal
        self._around = around
        self._wishes = wishes
        self._identity = Identity(job.uid, job.receipt.spec_sha256, BITS_VERSION)
        self._keeper = Keeper(job, self._identity, around)
        self._start_step, self._start_state = self._keeper.newest()
        self._size = wishes.size
        self._course = course_of(job, self._start_step, self._size)
        self._task = task_of(job, around.roots)
        self._segment = around.segment(job, len(job.attempts) + 1)
        self.coordinator = Coordinator(
            self._course,
            policy,
            first_round,
            key=secrets.token_bytes(_KEY_BYTES),
            segment=self._segment,
            certificate=around.certificate(),
        )
        self._group = around.fleet.group(
            job.id,
            self._course.workers,
            around.folder(job) / "workers",
            job.receipt.profile or around.profile,
        )
        self._rounds = Rounds(self._start_step)
        self._snapshot: bytes | None = self._start_state
        self._parts: tuple[Answer, ...] = ()
        self._measurements: tuple[tuple[int, float], ...] = ()
        self._hosts: dict[int, tuple[str, int]] = {}
        self._lives: Mapping[str, int] = {}
        self._watch = Watch()
        self._losses = self._restarts = 0
        self._came_warm = True
        self._is_again = any(attempt.found_a_place for attempt in job.attempts)
        self._progress = ProgressLog(
            plan_of(job), job.spec.training.update_rows, self._start_step, around.monotonic()
        )
        self._checkpoint_time = around.monotonic()
        self._doctor = Doctor(job.spec.schedule.warmup_steps, job.diagnoses)
        self._end: End | None = None

    def carry_out(self) -> Generator[None, None, End]:
        """Runs until the coordinator says that it is over."""
        try:
            self._handle(Begin())
            self._journal.attempt_begins(self._start_step)  # while the workers load
            while self._end is None:
                yield
                for event in self._events():
                    self._handle(event)
        finally:
            self._group.close()
            sweep(self._segment)
        self._journal.attempt_ends(self._end)
        return self._end

    def roll_back(self, end: End) -> End:
        """Has the next run begin at the end of an epoch with a lower rate; the end says so.

        In this order: cut off in between, the same run comes to the same end once more.
        """
        step = self._keeper.go_back()
        return replace(end, message=self._journal.rolled_back(step, end.message))

    def _handle(self, event: Event) -> None:
        """Does what the coordinator says, first of all that the members can go on."""
        told = (*self._suspected(), event)
        commands = [command for each in told for command in self.coordinator.handle(each)]
        for command in sorted(commands, key=lambda each: isinstance(each, _AFTER_ORDERS)):
            self._do(command)

    def _events(self) -> Iterator[Event]:
        happened = self._group.poll(self._watch.patience(self._around.monotonic(), _POLL_SECONDS))
        for each in happened:
            yield from self._heard(each)
        if self._wishes.cancel.is_set():
            yield Cancelled()
        if self._wishes.drain.is_set():
            yield Draining()
        yield from self._resized()
        is_quiet = all(isinstance(each, Alive) for each in happened)
        yield from self._elapsed(self._around.monotonic(), is_quiet=is_quiet)

    def _resized(self) -> Iterator[Event]:
        """What the job may have other than before."""
        if self._wishes.size == self._size:
            return
        self._size = self._wishes.size
        self._course = course_of(self._journal.job, self._start_step, self._size)
        yield Resized(self._course.least, self._course.workers)

    def _suspected(self) -> Iterator[Event]:
        """What deaths of other jobs come to, where it is something else than before."""
        around, before = self._around, self._lives
        self._lives = around.suspects.lives(
            self._journal.job.name, around.fleet.nodes, around.monotonic()
        )
        if self._lives != before:
            yield NodesSuspect(self._lives)

    def _heard(self, happened: WorkerEvent) -> Iterator[Event]:
        match happened:
            case Ready(worker, answer):
                self._came_warm &= happened.warm
                yield self._ready(worker, answer)
            case Answered(worker, answer):
                yield from self._answered(worker, answer)
            case Gone(worker, reason, message, lines):
                yield self._failed(worker, reason, message, lines)
            case Alive(worker, beat):
                yield from self._alive(worker, beat)

    def _alive(self, worker: int, beat: Answer) -> Iterator[Event]:
        try:
            said = sign(beat)
        except BadAnswer as error:
            yield self._failed(worker, Reason.WORKER_ERROR, str(error))
            return
        self._watch.alive(worker, self._around.monotonic(), reads=said.reads)
        self._watch.stands(worker, said.round, said.step)

    def _ready(self, worker: int, answer: Answer) -> Event:
        self._watch.ready(worker)
        facts = answer.facts
        try:
            self._doctor.baseline = baseline(answer)
            node, pid = str(facts.get("node")), integer(facts, "pid")
            other = skew(f"worker {worker} on {node}", self._around.versions, versions(answer))
        except BadAnswer as error:
            return self._failed(worker, Reason.WORKER_ERROR, str(error))
        self._hosts[worker] = (node, pid)
        if other:
            return self._failed(worker, Reason.VERSION_SKEW, other)
        expected, found = self._job_selftest, str(facts.get("selftest_sha256"))
        if not expected:
            self._journal.arithmetic(str(facts.get("profile")), found)
        elif expected != found:
            told = _refusal(f"worker {worker} on {node}", found, expected)
            return self._failed(worker, Reason.WORKER_REFUSED, told)
        return WorkerReady(worker, node, str(facts.get("address")), pid)

    @property
    def _job_selftest(self) -> str:
        return self._journal.job.receipt.selftest_sha256

    def _answered(self, worker: int, answer: Answer) -> Iterator[Event]:
        try:
            events = self._said(worker, answer)
        except BadAnswer as error:
            events = (self._failed(worker, Reason.WORKER_ERROR, str(error)),)
        yield from events

    def _said(self, worker: int, answer: Answer) -> tuple[Event, ...]:
        """What an answer tells the coordinator. Raises BadAnswer."""
        if answer.round != self.coordinator.round:
            self._journal.answer_came_late()
            return ()
        self._watch.answered(worker)
        match answer.kind:
            case AnswerKind.BROKEN:
                self._rounds.add(answer)
                return (broken(worker, answer, self._around.monotonic()),)
            case AnswerKind.ERROR:
                message = str(answer.facts.get("message")).removeprefix("NoRoom: ")
                return (NoRoom(worker, answer.round, message[:MESSAGE_LENGTH]),)
            case _ if "location" in answer.facts:
                return (Located(worker, answer.round, location(answer)),)
            case _:
                word = done(worker, answer, self._around.monotonic())
                reports = self._rounds.add(answer)
                return (*_not_finite(answer.round, reports), word)

    def _committed(self, report: StepReport) -> None:
        for diagnosis in self._doctor.committed(report):
            self._journal.diagnosed(diagnosis)
        if report.health and report.health.is_whole:
            self._journal.looked(report.health)
        if report.skipped:
            self._progress.skipped(report.step)
            return
        self._progress.committed(report)
        self._journal.committed(report, warm=self._came_warm)

    def _failed(
        self, worker: int, reason: Reason, message: str, lines: tuple[str, ...] = ()
    ) -> Event:
        stood = self._watch.stood(worker)
        self._watch.stopped(worker)
        log.warning("worker_lost", job=self._journal.job.name, worker=worker, reason=reason)
        return WorkerFailed(worker, reason, message, self._around.monotonic(), lines, stood)

    def _elapsed(self, now: float, *, is_quiet: bool) -> Iterator[Event]:
        for worker in self._watch.due(now):
            self._start(worker, now)
        for worker in self._watch.late(now):
            message = f"worker {worker} was not ready after {START:.0f} s"
            yield self._failed(worker, Reason.WORKER_START_FAILED, message)
        self._watch.looked(now)
        # What workers have said is heard before they are said to be late.
        yield from self._watch.silent(now) if is_quiet else ()
        if is_quiet and self._watch.is_overdue(now):
            yield RoundOverdue(self.coordinator.round, now)
        if now - self._checkpoint_time >= self._journal.job.spec.checkpoints.interval:
            self._checkpoint_time = now
            yield CheckpointDue()
        if self._progress.is_due(now):
            self._sample(now)
        if is_quiet:
            self._journal.write()

    def _sample(self, now: float) -> None:
        active = len(self.coordinator.active)
        self._journal.progressed(self._progress.sample(now, active, self._losses))

    def _do(self, command: Command) -> None:
        now = self._around.monotonic()
        match command:
            case StartWorker(worker, after):
                self._watch.start(worker, now + after)
                if not after:
                    self._start(worker, now)
            case StopWorker(worker):
                self._watch.stopped(worker)
                self._group.stop(worker)
            case Form(formation):
                self._assign(formation)
            case Expect(_, seconds):
                self._watch.expect(now, seconds)
            case Send():
                self._send(command)
            case MarkRunning():
                ready = len(self._hosts)
                message = f"Workers are ready: {ready}. Training begins at step {self._start_step}."
                self._journal.runs(message)
            case Commit(step):
                for report in self._rounds.commit(step):
                    self._committed(report)
            case KeepStatistics():
                self._parts += self._rounds.answers
            case Measured(split, step):
                self._measured(split, step)
            case KeepSnapshot(step, save):
                self._keep_snapshot(step, save)
            case KeepModel():
                self._journal.trained(*self._keeper.keep_model(self._rounds.answers[0]))
            case Report():
                self._report(command)
            case Forget(step):
                self._keeper.forget_after(step)
            case End():
                self._finish(command)

    def _start(self, worker: int, now: float) -> None:
        if self._restarts < self._losses or self._is_again:
            self._restarts += 1
            self._journal.worker_restarts()
        self._watch.started(worker, now + START)
        self._group.start(worker, self._task, self._start_state)

    def _report(self, report: Report) -> None:
        self._losses += report.worker >= 0 and report.reason in CAUSES
        node = report.node or self._hosts.get(report.worker, ("", 0))[0]
        self._journal.incident(report, node)
        if node and report.worker >= 0 and report.reason in DEATHS:
            self._suspect(node)

    def _suspect(self, node: str) -> None:
        """Takes note of a death; a node that has seen too many gets no new workers."""
        now, fleet = self._around.monotonic(), self._around.fleet
        death = Death(node, self._journal.job.name, now)
        if self._around.suspects.died(death, fleet.nodes):
            fleet.avoid(self._around.suspects.drained(now))
            self._around.metrics.node_suspected()
            log.warning("node_suspect", node=node)

    def _assign(self, formation: Formation) -> None:
        assignments = tuple(
            Assignment(
                member.worker,
                *self._hosts[member.worker],
                member.first,
                member.last - member.first,
            )
            for member in formation.members
        )
        self._journal.assigned(assignments, self._course.workers)

    def _send(self, send: Send) -> None:
        self._rounds.begin(send.round, send.step)
        now, patience = self._around.monotonic(), send.formation.patience
        self._watch.asked(send.worker, send.round, now, patience)
        self._group.order(
            send.worker,
            Order(
                send.worker,
                send.round,
                send.step,
                send.formation,
                self._labelled(send.work),
                state=self._snapshot if send.load else None,
                measured=self._measurements,
                fence=send.fence,
            ),
        )

    def _labelled(self, work: Work) -> Work:
        """A snapshot says whose it is, a model of what job; other work is as it was."""
        match work:
            case Snapshot(Content.MODEL):
                spec = json_form(spec_to_wire(self._journal.job.spec))
                return Snapshot(work.content, (*self._identity.metadata(), ("spec", dumps(spec))))
            case Snapshot():
                return Snapshot(work.content, self._identity.metadata())
            case _:
                return work

    def _measured(self, split: str, step: int) -> None:
        plan = plan_of(self._journal.job)
        rows = plan.validation_rows if split == "validation" else plan.test_rows
        statistics = total(self._parts, len(block_bounds(rows)))
        self._parts = ()
        values = summarize(self._journal.job.spec.loss, statistics)
        self._doctor.measured(split, step, values["loss"])
        if split == "validation":
            # A worker one step behind the newest may have to hear of the one before, too.
            self._measurements = (*self._measurements[-1:], (step, values["loss"]))
        self._journal.measured(self._progress.measured(split, step, values))

    def _keep_snapshot(self, step: int, save: bool) -> None:
        body = self._rounds.answers[0].body
        self._snapshot = bytes(body)
        if save and self._rounds.answers[0].facts.get("is_finite"):
            self._journal.write()  # the checkpoint comes after it in the history
            self._keeper.save(step, body, self.coordinator.good_step)

    def _finish(self, end: End) -> None:
        self._end = end
        if self._progress.has_news:
            self._sample(self._around.monotonic())


def _engine_changed(began: int) -> str:
    return (
        f"The job began with arithmetic {began}, this is {BITS_VERSION}: submit it anew, or go on "
        "with the version of Gradloom it began with."
    )


def _refusal(worker: str, found: str, expected: str) -> str:
    return f"{worker} computes other bits: its self-test is {found[:12]}, not {expected[:12]}"


def _not_finite(number: int, reports: tuple[StepReport, ...]) -> tuple[NotFinite, ...]:
    return tuple(
        NotFinite(number, report.step, report.skipped, _what_is_not_finite(report))
        for report in reports
        if report.skipped
    )


def _what_is_not_finite(report: StepReport) -> str:
    return (
        f"At step {report.step} the loss is {report.loss} and the gradient's norm "
        f"{report.gradient_norm}: lower the learning rate or set optimizer.clip_norm."
    )
