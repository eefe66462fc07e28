"""One training run as a pure state machine: an event comes in, commands go out.

The run is a sequence of rounds. A round is one piece of work at one committed step under a number
that is never used again; in a round of training the members of a formation make steps on their own,
in lock-step, and answer at its end. Between two rounds workers may join and leave: then a new
formation begins. When a member fails, the others answer at which step they stand; the smallest of
those steps counts, and the survivors go on from it in a new formation.
"""

from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.agenda import Agenda
from gradloom.service.training.bits import Dispute
from gradloom.service.training.breaches import (
    MOST_FRUITLESS,
    Culprit,
    cut_off,
    frozen,
    lost_nodes,
    most_blamed,
    silent,
)
from gradloom.service.training.course import Course
from gradloom.service.training.crew import Crew, Worker
from gradloom.service.training.deadlines import COMPANY, CONFIRMATION
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
    KeepModel,
    Located,
    MarkRunning,
    NodesSuspect,
    NoRoom,
    NotFinite,
    Report,
    Resized,
    RoundBroken,
    RoundOverdue,
    Silent,
    StopWorker,
    WorkerAnswered,
    WorkerFailed,
    WorkerReady,
)
from gradloom.service.training.formations import Formations
from gradloom.service.training.losses import Losses, place_of
from gradloom.service.training.policies import Failure, FailurePolicy
from gradloom.service.training.round import Round, Word
from gradloom.service.training.shares import divide
from gradloom.service.training.staff import Staff
from gradloom.service.training.suspects import suspicion
from gradloom.service.training.timing import Timing
from gradloom.service.training.trust import Trust
from gradloom.worker.messages import Content, Evaluate, Locate, Snapshot, Train, Verify, Work


class Coordinator:
    """Decides what the workers of one run do next. Knows no clock, array, thread or process.

    key, segment and certificate are those of the run's formations.
    """

    def __init__(
        self,
        course: Course,
        policy: FailurePolicy,
        first_round: int = 1,
        *,
        key: bytes = b"",
        segment: str = "",
        certificate: bytes = b"",
    ) -> None:
        self._course = course
        self._crew = Crew()
        self._losses = Losses(policy)
        self._staff = Staff(course, self._crew, self._losses)
        self._formations = Formations(
            course, self._crew, key=key, segment=segment, certificate=certificate
        )
        self._timing = Timing(course, self._crew, self._losses)
        self._trust = Trust(course)
        self._agenda = Agenda(course, self._crew, self._formations, self._timing, self._trust)
        self._number = self._common_round = first_round - 1
        self._step = course.start_step
        self._time = 0.0
        self._round: Round | None = None
        self._fruitless = 0
        self._running = self._waits_for_company = False
        self._ended = False

    @property
    def step(self) -> int:
        """Committed updates."""
        return self._step

    @property
    def good_step(self) -> int:
        """The newest step up to which nobody came to other bits: the run may go back to it."""
        return self._trust.step

    @property
    def round(self) -> int:
        """Number of the newest round."""
        return self._number

    @property
    def policy(self) -> FailurePolicy:
        """The failures so far, for the run that may follow this one."""
        return self._losses.policy

    @property
    def active(self) -> tuple[int, ...]:
        """Workers that take part in rounds."""
        return self._formations.active

    def handle(self, event: Event) -> list[Command]:
        """The commands that follow from an event; none once the run has ended."""
        if self._ended:
            return []
        match event:
            case Begin():
                return self._staff.fill()
            case WorkerReady():
                return self._ready(event)
            case WorkerAnswered():
                return self._answered(event)
            case RoundBroken() | NoRoom():
                return self._heard(event)
            case WorkerFailed():
                return self._failed(event)
            case Silent():
                return self._fell_silent(event)
            case RoundOverdue(number, time):
                return self._overdue(number, time)
            case NotFinite():
                if event.round == self._number:
                    self._agenda.not_finite = event
                return []
            case Located(worker, number, message):
                return self._located(worker, number, message)
            case NodesSuspect(lives):
                return self._suspect(self._losses.suspect(lives))
            case Resized():
                return self._resized(event)
            case CheckpointDue():
                self._agenda.is_checkpoint_due = True
                return []
            case Cancelled():
                message = f"Cancelled after {self._step} of {self._course.steps} steps."
                return self._end(End(State.CANCELLED, Reason.CANCEL_REQUESTED, message))
            case Draining():
                return self._drain()

    # Workers come.

    def _ready(self, event: WorkerReady) -> list[Command]:
        worker = self._crew.get(event.worker)
        if worker is None:
            return []
        worker.ready = event
        self._losses.one_has_started()
        return [] if self._running else self._run_when_enough_are_ready()

    def _run_when_enough_are_ready(self) -> list[Command]:
        return self._run() if self._staff.are_enough else self._wait_for_company()

    def _wait_for_company(self) -> list[Command]:
        """A job that was begun before goes on with those who are ready, if others do not come.

        They may be on a node that is lost, of which nobody knows for a while.
        """
        if self._course.is_new or self._waits_for_company or not self._crew.ready():
            return []
        self._waits_for_company = True
        return [Expect(self._number, COMPANY)]

    def _run_without_company(self) -> list[Command]:
        self._waits_for_company = False
        return self._run() if self._crew.ready() else []

    def _run(self) -> list[Command]:
        self._running = True
        return [MarkRunning(), *self._next_round()]

    def _resized(self, event: Resized) -> list[Command]:
        """Workers are started at once; those that are too many leave at the end of the round."""
        told = self._staff.resize(event.least, event.workers, self._step)
        if self._running:
            return [*told, *self._staff.fill()]
        changed = [*told, *self._staff.dismiss(), *self._staff.fill()]
        return [*changed, *self._run_when_enough_are_ready()]

    # Answers come in.

    def _answered(self, event: WorkerAnswered) -> list[Command]:
        round = self._round
        if round is None or event.round != round.number or event.worker not in round.pending:
            return []
        if isinstance(round.work, Locate):
            message = "The worker that was asked where says nothing."
            return self._located(event.worker, event.round, message)
        if not round.may_end_at(event.step):
            return self._failed(_wrong_step(event, round, self._time))
        return self._heard(event)

    def _heard(self, word: Word) -> list[Command]:
        if not isinstance(word, NoRoom):
            self._time = max(self._time, word.time)
        if self._round is None or not self._round.hear(word):
            return []
        return self._settled_or_waiting(self._round)

    def _settled_or_waiting(self, round: Round) -> list[Command]:
        if not round.pending:
            return self._settle(round)
        if not round.is_broken or not isinstance(round.work, Train):
            return []
        if round.waits_for_the_frozen_alone:
            return self._give_up_the_silent(round)
        if round.waits_for_culprits_alone:
            return self._set_limit(round, 2, CONFIRMATION)
        return self._set_limit(round, 1, self._timing.agreement(self._formations.newest))

    def _set_limit(self, round: Round, number: int, seconds: float) -> list[Command]:
        """Sets the first or second limit of a round that broke, once."""
        if round.limits >= number:
            return []
        round.limits = number
        return [Expect(round.number, seconds)]

    def _overdue(self, number: int, time: float) -> list[Command]:
        self._time = max(self._time, time)
        round = self._round
        if not self._running and self._waits_for_company:
            return self._run_without_company()
        return self._give_up_the_silent(round) if round and round.number == number else []

    def _give_up_the_silent(self, round: Round) -> list[Command]:
        gone = self._expel_all(silent(round.pending, round.blames))
        return [*gone, *self._settle(round)]

    def _fell_silent(self, event: Silent) -> list[Command]:
        """One is frozen that would say that it lives if it could."""
        self._time = max(self._time, event.time)
        round = self._round
        if round is None or event.round != round.number or event.worker not in round.pending:
            return []
        culprit = frozen(event.worker, event.seconds, round.blames)
        return [*self._expel(culprit, event.stood), *self._settled_or_waiting(round)]

    def _located(self, worker: int, number: int, where: str) -> list[Command]:
        """Does what the job wants done about a step that is not finite."""
        round, found = self._round, self._agenda.not_finite
        if round is None or found is None or not isinstance(round.work, Locate):
            return []
        if number != round.number or worker not in round.pending:
            return []
        self._agenda.not_finite = None
        message = f"{found.message} {where}"
        verdict = self._course.non_finite.verdict(found.skipped, message)
        if verdict is not None:
            return self._end(End(State.FAILED, verdict.reason, verdict.message))
        if self._course.non_finite.rolls_back:
            return self._end(End(None, Reason.ROLLED_BACK, message))
        report = Report(Reason.STEP_SKIPPED, -1, found.step, message)
        return [report, *self._next_round()]

    # Workers go.

    def _failed(self, event: WorkerFailed) -> list[Command]:
        self._time = max(self._time, event.time)
        worker = self._crew.pop(event.worker, None)
        if worker is None:
            return []
        gone = self._mourn(worker, event)
        round = self._round
        is_waited_for = round is not None and event.worker in round.pending
        self._note_death(event.worker, worker.node)
        if round is None or not is_waited_for:
            return [*gone, *self._judge()]
        return [*gone, *self._settled_or_waiting(round)]

    def _expel_all(self, culprits: list[Culprit]) -> list[Command]:
        return [command for culprit in culprits for command in self._expel(culprit)]

    def _expel(self, culprit: Culprit, stood: int = -1) -> list[Command]:
        """Has a worker killed that is said to be at fault, and its node make sure of it."""
        worker = self._crew.pop(culprit.worker, None)
        if worker is None:
            return []
        if worker.ready:
            self._formations.fence_off(worker.node, worker.ready.pid)
        event = WorkerFailed(culprit.worker, culprit.reason, culprit.message, stood=stood)
        gone = self._mourn(worker, event)
        self._note_death(culprit.worker, worker.node)
        return gone

    def _note_death(self, number: int, node: str) -> None:
        if self._round:
            self._round.lose(number, node)
        self._formations.lost(number)

    def _mourn(self, worker: Worker, event: WorkerFailed) -> list[Command]:
        """Takes note of a worker that has left the crew, and tells why it did."""
        round = self._round
        is_in_it = round is not None and event.worker in round.pending
        stood = min(event.stood, round.end) if round and is_in_it else -1
        failure = Failure(
            event.reason,
            event.message,
            max(self._step, stood),
            self._common_round,
            worker.ready is not None,
            self._time,
            round.end if round else self._step + 1,
            event.worker,
            worker.node,
            event.log,
            is_idle=worker.ready is not None and not (round and event.worker in round.members),
        )
        self._crew.look_again_later(worker.relieves)
        if worker.relieves is not None and failure.finds_no_place:
            return [StopWorker(event.worker)]
        is_the_last = self._losses.add(failure)
        if failure.finds_no_place and self._may_wait:
            return [StopWorker(event.worker)]  # the job's move back to the queue says why
        if not self._losses.is_news(failure):
            return [StopWorker(event.worker)]
        told = f"{event.message}{place_of(failure, stood)}" if is_in_it else event.message
        report = Report(event.reason, event.worker, self._step, told, worker.node)
        suspect = [self._told_suspect(worker.node)] if is_the_last else []
        return [report, *suspect, StopWorker(event.worker)]

    def _suspect(self, drained: list[str]) -> list[Command]:
        """Tells of nodes that are drained now, of those where workers are or have died."""
        here = self._crew.nodes(self._crew).values()
        told = [node for node in drained if self._losses.excuse(node) or node in here]
        return [self._told_suspect(node) for node in told]

    def _told_suspect(self, node: str) -> Command:
        return Report(Reason.NODE_SUSPECT, -1, self._step, suspicion(node), node)

    @property
    def _may_wait(self) -> bool:
        """Whether the job may go back to the queue."""
        return self._course.is_new and not self._running

    def _judge(self) -> list[Command]:
        """What follows from the failures since it was last asked: the end, or replacements."""
        if not self._losses.are_to_be_judged:
            return []
        end = self._losses.judge(
            goes_on=self._running and bool(self.active),
            may_wait=self._may_wait,
        )
        if end is not None:
            return self._end(end)
        goes_on = not self._running or self._formations.eligible(self._step)
        return self._staff.fill() if goes_on else []

    # A round ends.

    def _settle(self, round: Round) -> list[Command]:
        """All members have answered or are gone: what counts, who has to leave, what comes next."""
        before = self._step
        commands = self._part(round) if round.is_broken else []
        commands += self._stand(round)
        fruitless = round.is_broken and self._step == before and not round.dead
        self._fruitless = self._fruitless + 1 if fruitless else 0
        if round.is_broken:
            self._formations.has_broken()
        commands += [*self._tell_of_nodes(round), *self._pin_down(round)]
        if not round.is_broken:
            commands += self._completed(round)
        return commands if self._ended else [*commands, *self._next_round()]

    def _part(self, round: Round) -> list[Command]:
        """Expels those who cannot stay, though they have answered; gives up cells without room."""
        members = self._formations.members
        answered = {m.worker: m.cell for m in members if m.worker in round.answers}
        culprits = cut_off(answered, round.blames)
        if not culprits and self._fruitless + 1 >= MOST_FRUITLESS and not round.dead:
            culprits = most_blamed(answered, round.blames)
        no_room = [word for word in round.answers.values() if isinstance(word, NoRoom)]
        commands = self._without_cells(no_room[0]) if no_room else []
        return [*commands, *self._expel_all(culprits)]

    def _without_cells(self, word: NoRoom) -> list[Command]:
        """Every worker keeps its own state from now on, and all talk over sockets."""
        if not self._formations.cells_are_shared:
            return self._expel(Culprit(word.worker, Reason.SHM_TOO_SMALL, word.message))
        self._formations.cells_are_shared = False
        node = self._crew[word.worker].node if word.worker in self._crew else ""
        return [Report(Reason.SHM_TOO_SMALL, word.worker, self._step, word.message, node)]

    def _stand(self, round: Round) -> list[Command]:
        """The step that all who hold the state can stand at; one that is newer counts."""
        if not isinstance(round.work, Train):
            return []
        standing = round.standing({n: worker.holds for n, worker in self._crew.items()})
        standing = {n: step for n, step in standing.items() if n in self._crew}
        for number, worker in self._crew.items():
            worker.holds = number in standing
        if not standing:
            return []
        before, self._step = self._step, max(self._step, min(standing.values()))
        if self._step == before:
            return []
        self._losses.committed(self._step)
        return [Commit(self._step)]

    def _tell_of_nodes(self, round: Round) -> list[Command]:
        """Nodes that were lost as a whole, for which no job is to blame."""
        left = {node for node in self._crew.nodes(self._crew.ready()).values() if node}
        commands: list[Command] = []
        for node, workers in lost_nodes(round.dead, left):
            message = f"All {len(workers)} workers on {node} are gone at once."
            commands.append(Report(Reason.NODE_LOST, -1, self._step, message, node))
            self._losses.went_with_their_node(workers)
        return commands

    def _pin_down(self, round: Round) -> list[Command]:
        """Judges the round's losses; where somebody is left, the step they happened at is known."""
        if len(round.members) > 1:
            self._losses.spared(others=bool(round.members - round.dead.keys()))
        if self.active and round.is_broken:
            self._losses.were_at(self._step)
        return self._judge()

    def _completed(self, round: Round) -> list[Command]:
        """What the answers of the round that is now whole are for."""
        match round.work:
            case Train():
                self._learn(round)
                return self._compared(round) or self._staff.recycle(self.active)
            case Verify(shard):
                found = self._trust.verify(round.digests, shard, self._step)
                return self._go_back(found, self._trust.verified) if found else []
            case Evaluate(split, first, last):
                self._timing.measured(round.words, last - first)
                return self._agenda.measured(split, self._step, last)
            case Snapshot(Content.MODEL):
                message = f"All {self._step} steps are done."
                end = End(State.SUCCEEDED, Reason.COMPLETED, message)
                return [KeepModel(self._step), *self._end(end)]
            case _:
                return [self._agenda.keep_snapshot(self._step)]

    def _learn(self, round: Round) -> None:
        """How long steps take, how fast each worker is, and how much memory it takes up."""
        words, made = round.words, self._step - round.step
        is_first = self._crew.have_novice(w for w in round.answers if w in self._crew)
        self._formations.trained(words, made, is_first=is_first)
        if made:
            self._timing.trained(words, made, is_first=is_first)
            self._crew.trained(words)

    def _compared(self, round: Round) -> list[Command]:
        found = self._trust.compare(round.digests, self._formations.newest.members, self._step)
        return self._go_back(found, self._trust.agreed) if found else []

    def _go_back(self, found: Dispute, until: int) -> list[Command]:
        """Expels who is wrong; another run goes on from what was good, not after a step."""
        gone = [Forget(until), *self._expel_all(list(found.culprits))]
        verdict = self._judge()
        if self._ended:
            return [*gone, *verdict]
        return [*gone, *self._end(End(None, Reason.BITS_DIFFER, found.message))]

    # The next round begins.

    def _next_round(self) -> list[Command]:
        dismissed = [*self._staff.relieve(self._step), *self._staff.dismiss()]
        work = self._agenda.next_work(self._step)
        if work is None:
            return [*dismissed, *self._stop()]
        workers = self._formations.eligible(self._step)
        if not workers:
            lost = End(None, Reason.ALL_WORKERS_LOST, "No worker has the newest state.")
            return [*dismissed, *self._end(lost)]
        return [*dismissed, *self._form(work, workers), *self._begin_round(self._paced(work))]

    def _form(self, work: Work, workers: list[int]) -> list[Command]:
        """Members enter a formation to train in it; other work each of them does by itself."""
        if not isinstance(work, Train) and self._formations.is_there:
            return []
        seconds = self._timing.patience(self._step, workers, self._fruitless)
        return [*self._formations.form(workers, self._number + 1, seconds)]

    def _paced(self, work: Work) -> Work:
        """Training has as many steps as the formation that was just made can make."""
        if not isinstance(work, Train):
            return work
        return Train(self._timing.steps(self._step, self.active))

    def _begin_round(self, work: Work) -> list[Command]:
        self._number += 1
        parts = self._parts(work)
        self._round = Round(self._number, self._step, work, set(parts))
        # Of workers that died together and were asked one after the other, as for a snapshot, the
        # deaths are one: they count by the newest round that all took part in.
        if not isinstance(work, Snapshot | Locate):
            self._common_round = self._number
        if isinstance(work, Train):
            self._trust.train(len(parts))
        expected = Expect(self._number, self._timing.limit(work, self._formations.newest))
        return [expected, *self._formations.sends(self._number, self._step, parts)]

    def _parts(self, work: Work) -> dict[int, Work]:
        match work:
            case Train():
                return dict.fromkeys(self.active, work)
            case Verify():
                return dict.fromkeys(self._crew.holders(self._crew), work)
            case Evaluate(split, first, last):
                shares = divide(last - first, self._formations.able(self._step)).items()
                return {w: Evaluate(split, first + a, first + b) for w, (a, b) in shares}
            case Snapshot() | Locate():
                return {self._formations.able(self._step)[0]: work}

    def _drain(self) -> list[Command]:
        self._agenda.is_draining = True
        self._staff.close()
        return [] if self._running else self._stop()

    def _stop(self) -> list[Command]:
        return self._end(End(None, Reason.SERVICE_RESTARTED, "The service is stopping."))

    def _end(self, end: End) -> list[Command]:
        # Who is still there did well, and may serve another job.
        self._ended = True
        return [end]


def _wrong_step(event: WorkerAnswered, round: Round, time: float) -> WorkerFailed:
    message = (
        f"worker {event.worker} says that it stands at step {event.step} after a round from "
        f"{round.step} to {round.end}"
    )
    return WorkerFailed(event.worker, Reason.WORKER_ERROR, message, time)
