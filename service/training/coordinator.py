"""One training run as a pure state machine: an event comes in, commands go out.

The run is a sequence of rounds. A round is one piece of work at one committed step under a number
that is never used again; in a round of training the members of a formation make steps on their own,
in lock-step, and answer at its end. Between two rounds workers may join and leave: then a new
formation begins. When a member fails, the others answer at which step they stand; the smallest of
those steps counts, and the survivors go on from it in a new formation.
"""

from dataclasses import replace

from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.bits import Dispute, dispute, with_their_cells
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
from gradloom.service.training.crew import (
    Crew,
    Worker,
    cells_of,
    in_turn,
    leaders,
    members_of,
    shared_out,
)
from gradloom.service.training.deadlines import (
    CONFIRMATION,
    MOST_PATIENCE,
    agreement,
    evaluation_limit,
    other_limit,
    patience,
    round_limit,
)
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
    Form,
    KeepModel,
    KeepSnapshot,
    KeepStatistics,
    Located,
    MarkRunning,
    Measured,
    NodeSuspect,
    NoRoom,
    NotFinite,
    Report,
    Resized,
    RoundBroken,
    RoundOverdue,
    Send,
    Silent,
    StartWorker,
    StopWorker,
    WorkerAnswered,
    WorkerFailed,
    WorkerReady,
)
from gradloom.service.training.pace import Pace, Sample, evened, is_out_of_date
from gradloom.service.training.policies import Failure, FailurePolicy
from gradloom.service.training.round import Round, Word
from gradloom.service.training.shares import Speeds, divide
from gradloom.service.training.spot_checks import drawn
from gradloom.service.wording import plural
from gradloom.worker.messages import (
    Content,
    Evaluate,
    Formation,
    Locate,
    Member,
    Snapshot,
    Train,
    Verify,
    Work,
)


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
        self._policy = policy
        self._key = key
        self._segment = segment
        self._certificate = certificate
        self._least = course.least
        self._wanted = course.workers
        self._crew = Crew()
        self._next_worker = 0
        self._number = self._common_round = first_round - 1
        self._step = course.start_step
        self._running = False
        self._ended = False
        self._time = 0.0
        self._round: Round | None = None
        self._formation: Formation | None = None
        self._formation_stands = False
        self._formation_is_entered = False
        self._cells_are_shared = True
        self._casualties: list[Failure] = []
        self._fence: dict[str, tuple[int, ...]] = {}
        self._fruitless = 0
        self._pace = Pace()
        self._block_pace = Pace()
        self._speeds = Speeds()
        self._snapshot_step: int | None = None
        self._saved_step: int | None = course.start_step
        self._measured: set[tuple[str, int]] = set()
        self._measured_until = 0
        self._checkpoint_due = False
        self._draining = False
        self._not_finite: NotFinite | None = None
        self._agreed = course.start_step
        self._verified = course.verified_step
        self._was_in_company = False

    @property
    def step(self) -> int:
        """Committed updates."""
        return self._step

    @property
    def good_step(self) -> int:
        """The newest step up to which nobody came to other bits: the run may go back to it."""
        return min(self._agreed, self._verified)

    @property
    def round(self) -> int:
        """Number of the newest round."""
        return self._number

    @property
    def policy(self) -> FailurePolicy:
        """The failures so far, for the run that may follow this one."""
        return self._policy

    @property
    def active(self) -> tuple[int, ...]:
        """Workers that take part in rounds."""
        return tuple(member.worker for member in self._members)

    @property
    def _members(self) -> tuple[Member, ...]:
        """Members of the newest formation that are still there."""
        members = self._formation.members if self._formation else ()
        return tuple(member for member in members if member.worker in self._crew)

    def handle(self, event: Event) -> list[Command]:
        """The commands that follow from an event; none once the run has ended."""
        if self._ended:
            return []
        match event:
            case Begin():
                return self._fill()
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
                self._not_finite = event if event.round == self._number else self._not_finite
                return []
            case Located(worker, number, message):
                return self._located(worker, number, message)
            case NodeSuspect(node, message):
                self._policy = self._policy.excusing(node)
                return [Report(Reason.NODE_SUSPECT, -1, self._step, message, node)]
            case Resized(least, workers):
                return self._resized(least, workers)
            case CheckpointDue():
                self._checkpoint_due = True
                return []
            case Cancelled():
                message = f"Cancelled after {self._step} of {self._course.steps} steps."
                return self._end(State.CANCELLED, Reason.CANCEL_REQUESTED, message)
            case Draining():
                return self._drain()

    # Workers come.

    def _fill(self) -> list[Command]:
        """Starts as many workers as are missing, later and later where they go on failing."""
        missing = 0 if self._draining else max(self._most_workers - len(self._crew), 0)
        return [self._start_worker() for _ in range(missing)]

    @property
    def _most_workers(self) -> int:
        """How many there may be: more than are wanted while some take the place of others."""
        return self._wanted + len(self._crew.reliefs())

    def _start_worker(self, relieves: int | None = None) -> Command:
        worker = self._next_worker
        self._next_worker += 1
        self._crew[worker] = Worker(relieves=relieves)
        return StartWorker(worker, self._policy.backoff())

    def _ready(self, event: WorkerReady) -> list[Command]:
        worker = self._crew.get(event.worker)
        if worker is None:
            return []
        worker.ready = event
        return [] if self._running else self._run_when_enough_are_ready()

    def _run_when_enough_are_ready(self) -> list[Command]:
        if len(self._crew.ready()) < self._least:
            return []
        self._running = True
        return [MarkRunning(), *self._next_round()]

    def _resized(self, least: int, workers: int) -> list[Command]:
        """Workers are started at once; those that are too many leave at the end of the round."""
        before, self._wanted = self._wanted, max(1, min(workers, self._course.shards))
        self._least = max(1, min(least, self._wanted))
        if self._wanted == before:
            return [] if self._running else self._run_when_enough_are_ready()
        message = f"{plural(self._wanted, 'worker')} from now on, {before} before."
        report = Report(Reason.WORKERS_CHANGED, -1, self._step, message)
        if self._running:
            return [report, *self._fill()]
        return [report, *self._dismiss(), *self._fill(), *self._run_when_enough_are_ready()]

    def _dismiss(self) -> list[Command]:
        """Lets go of workers that are too many, of those first whose leaving costs least."""
        by_cost = sorted(
            self._crew,
            key=lambda n: (self._crew[n].ready is not None, self._crew[n].holds, -n),
        )
        dismissed = by_cost[: max(len(self._crew) - self._most_workers, 0)]
        for worker in dismissed:
            del self._crew[worker]
        return [StopWorker(worker) for worker in dismissed]

    def _recycle(self) -> list[Command]:
        """Starts another one for a worker whose memory grows; one at a time."""
        old = self._crew.leaking(self.active)
        if old is None or self._crew.reliefs() or self._draining:
            return []
        return [self._start_worker(relieves=old)]

    def _relieve(self) -> list[Command]:
        """Lets go of those in whose place others hold the state by now."""
        done = [(new, old) for new, old in self._crew.reliefs().items() if self._crew[new].holds]
        return [command for new, old in done for command in self._let_go(old, new)]

    def _let_go(self, old: int, new: int) -> list[Command]:
        worker = self._crew.pop(old)
        message = f"Its memory grew {worker.growth}: worker {new} has taken its place."
        report = Report(Reason.WORKER_RECYCLED, old, self._step, message, worker.node)
        return [report, StopWorker(old)]

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
        assert self._formation is not None, "a round has a formation"
        seconds = agreement(self._pace.longest_step, self._formation.patience)
        return self._set_limit(round, 1, seconds)

    def _set_limit(self, round: Round, number: int, seconds: float) -> list[Command]:
        """Sets the first or second limit of a round that broke, once."""
        if round.limits >= number:
            return []
        round.limits = number
        return [Expect(round.number, seconds)]

    def _overdue(self, number: int, time: float) -> list[Command]:
        self._time = max(self._time, time)
        round = self._round
        return self._give_up_the_silent(round) if round and round.number == number else []

    def _give_up_the_silent(self, round: Round) -> list[Command]:
        culprits = silent(round.pending, round.blames)
        gone = [command for culprit in culprits for command in self._expel(culprit)]
        return [*gone, *self._settle(round)]

    def _fell_silent(self, event: Silent) -> list[Command]:
        """One is frozen that would say that it lives if it could."""
        self._time = max(self._time, event.time)
        round = self._round
        if round is None or event.round != round.number or event.worker not in round.pending:
            return []
        culprit = frozen(event.worker, event.seconds, round.blames)
        return [*self._expel(culprit, event.stood), *self._settled_or_waiting(round)]

    # Workers go.

    def _failed(self, event: WorkerFailed) -> list[Command]:
        self._time = max(self._time, event.time)
        worker = self._crew.pop(event.worker, None)
        if worker is None:
            return []
        gone = self._mourn(
            event.worker, worker, event.reason, event.message, event.log, event.stood
        )
        round = self._round
        if round is None or event.worker not in round.pending:
            self._note_death(event.worker, worker.node)
            return [*gone, *self._judge()]
        self._note_death(event.worker, worker.node)
        return [*gone, *self._settled_or_waiting(round)]

    def _expel(self, culprit: Culprit, stood: int = -1) -> list[Command]:
        """Has a worker killed that is said to be at fault, and its node make sure of it."""
        worker = self._crew.pop(culprit.worker, None)
        if worker is None:
            return []
        if worker.ready:
            self._fence[worker.node] = (*self._fence.get(worker.node, ()), worker.ready.pid)
        gone = self._mourn(culprit.worker, worker, culprit.reason, culprit.message, stood=stood)
        self._note_death(culprit.worker, worker.node)
        return gone

    def _note_death(self, number: int, node: str) -> None:
        if self._round:
            self._round.lose(number, node)
        if self._formation and any(m.worker == number for m in self._formation.members):
            self._formation_stands = False

    def _mourn(
        self,
        number: int,
        worker: Worker,
        reason: Reason,
        message: str,
        log: tuple[str, ...] = (),
        stood: int = -1,
    ) -> list[Command]:
        round = self._round
        is_in_it = round is not None and number in round.pending
        stood = min(stood, round.end) if round and is_in_it else -1
        failure = Failure(
            reason,
            message,
            max(self._step, stood),
            self._common_round,
            worker.ready is not None,
            self._time,
            round.end if round else self._step + 1,
            number,
            worker.node,
            log,
        )
        self._crew.look_again_later(worker.relieves)
        if worker.relieves is not None and failure.finds_no_place:
            return [StopWorker(number)]
        self._casualties.append(failure)
        told = f"{message}{_place(failure, stood)}" if is_in_it else message
        return [Report(reason, number, self._step, told, worker.node), StopWorker(number)]

    def _judge(self) -> list[Command]:
        """What follows from the failures since it was last asked: the end, or replacements."""
        casualties, self._casualties = self._casualties, []
        if not casualties:
            return []
        goes_on = self._running and bool(self._members)
        for failure in casualties:
            if failure.finds_no_place and self._course.is_new and not self._running:
                return self._end(State.QUEUED, failure.reason, failure.message)
            self._policy = self._policy.after(failure)
            verdict = self._policy.verdict(goes_on=goes_on)
            if verdict is not None:
                return self._end(State.FAILED, verdict.reason, verdict.message)
        return self._fill() if not self._running or self._eligible() else []

    # A round ends.

    def _settle(self, round: Round) -> list[Command]:
        """All members have answered or are gone: what counts, who has to leave, what comes next."""
        before = self._step
        commands = self._part(round) if round.is_broken else []
        commands += self._stand(round)
        fruitless = round.is_broken and self._step == before and not round.dead
        self._fruitless = self._fruitless + 1 if fruitless else 0
        self._formation_stands = self._formation_stands and not round.is_broken
        commands += [*self._tell_of_nodes(round), *self._pin_down(round)]
        if not round.is_broken:
            commands += self._completed(round)
        return commands if self._ended else [*commands, *self._next_round()]

    def _part(self, round: Round) -> list[Command]:
        """Expels those who cannot stay, though they have answered; gives up cells without room."""
        answered = {m.worker: m.cell for m in self._members if m.worker in round.answers}
        culprits = cut_off(answered, round.blames)
        if not culprits and self._fruitless + 1 >= MOST_FRUITLESS and not round.dead:
            culprits = most_blamed(answered, round.blames)
        no_room = [word for word in round.answers.values() if isinstance(word, NoRoom)]
        commands = self._without_cells(no_room[0]) if no_room else []
        return [*commands, *(command for c in culprits for command in self._expel(c))]

    def _without_cells(self, word: NoRoom) -> list[Command]:
        """Every worker keeps its own state from now on, and all talk over sockets."""
        if not self._cells_are_shared:
            return self._expel(Culprit(word.worker, Reason.SHM_TOO_SMALL, word.message))
        self._cells_are_shared = False
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
        return [Commit(self._step)] if self._step > before else []

    def _tell_of_nodes(self, round: Round) -> list[Command]:
        """Nodes that were lost as a whole, for which no job is to blame."""
        left = {node for node in self._crew.nodes(self._crew.ready()).values() if node}
        commands: list[Command] = []
        for node, workers in lost_nodes(round.dead, left):
            message = f"All {len(workers)} workers on {node} are gone at once."
            commands.append(Report(Reason.NODE_LOST, -1, self._step, message, node))
            self._casualties = [
                replace(f, reason=Reason.NODE_LOST) if f.worker in workers else f
                for f in self._casualties
            ]
        return commands

    def _pin_down(self, round: Round) -> list[Command]:
        """Judges the round's losses; where somebody is left, the step they happened at is known."""
        if self._members and round.is_broken:
            self._casualties = [
                replace(failure, step=self._step, end=self._step + 1)
                for failure in self._casualties
            ]
        return self._judge()

    def _completed(self, round: Round) -> list[Command]:
        """What the answers of the round that is now whole are for."""
        match round.work:
            case Train():
                self._learn(round)
                return self._compared(round) or self._recycle()
            case Verify(shard):
                return self._verified_by_all(round, shard)
            case Evaluate(split, first, last):
                return self._measured_blocks(round, split, first, last)
            case Snapshot(Content.MODEL):
                message = f"All {self._step} steps are done."
                keep = KeepModel(self._step)
                return self._end(State.SUCCEEDED, Reason.COMPLETED, message, before=keep)
            case _:
                return [self._keep_snapshot()]

    def _measured_blocks(self, round: Round, split: str, first: int, last: int) -> list[Command]:
        """Some blocks of a split are measured; with the last of them all of it is."""
        words = [word for word in round.answers.values() if isinstance(word, WorkerAnswered)]
        seconds = max(word.seconds for word in words) / -(-(last - first) // len(words))
        self._block_pace = self._block_pace.after(Sample(seconds, seconds), is_first=False)
        self._measured_until = last
        if last < dict(self._course.splits_due(self._step))[split]:
            return [KeepStatistics()]
        self._measured_until = 0
        self._measured.add((split, self._step))
        return [KeepStatistics(), Measured(split, self._step)]

    def _learn(self, round: Round) -> None:
        """How long steps take, and how fast each worker is."""
        self._fence = {}
        made = self._step - round.step
        words = [word for word in round.answers.values() if isinstance(word, WorkerAnswered)]
        if not made:
            return
        is_first = self._crew.have_novice(w for w in round.answers if w in self._crew)
        step = max(word.seconds for word in words) / made
        sample = Sample(step, max(step, *(word.longest_step for word in words)))
        self._pace = self._pace.after(sample, is_first=is_first)
        shards = {member.worker: member.last - member.first for member in self._members}
        for word in words:
            if word.worker in self._crew:
                worker = self._crew[word.worker]
                worker.is_novice, worker.growth = False, worker.growth.after(word.resident)
            if shards.get(word.worker) and not is_first:
                cost = word.compute_seconds / made / shards[word.worker]
                self._speeds = self._speeds.after(word.worker, cost)

    def _compared(self, round: Round) -> list[Command]:
        """Holds the cells' parameters to each other; where they differ the run ends."""
        found = dispute(round.digests, f"the parameters at step {self._step}")
        if found:
            assert self._formation is not None, "a round has a formation"
            members = self._formation.members
            return self._go_back(with_their_cells(found, members), self._agreed)
        self._agreed = self._step
        # Steps that nobody else has taken part in are compared with nobody's.
        if not self._was_in_company or not self._course.verify_every:
            self._verified = self._step
        return []

    def _verified_by_all(self, round: Round, shard: int) -> list[Command]:
        found = dispute(round.digests, f"the gradient of shard {shard} at step {self._step}")
        if found:
            return self._go_back(found, self._verified)
        self._verified, self._was_in_company = self._step, False
        return []

    def _go_back(self, found: Dispute, until: int) -> list[Command]:
        """Expels who is wrong; another run goes on from what was good, not after a step."""
        gone = [command for culprit in found.culprits for command in self._expel(culprit)]
        verdict = self._judge()
        if self._ended:
            return [*gone, *verdict]
        return [*gone, *self._end(None, Reason.BITS_DIFFER, found.message, until=until)]

    def _located(self, worker: int, number: int, where: str) -> list[Command]:
        """Does what the job wants done about a step that is not finite."""
        round, found = self._round, self._not_finite
        if round is None or found is None or not isinstance(round.work, Locate):
            return []
        if number != round.number or worker not in round.pending:
            return []
        self._not_finite = None
        message = f"{found.message} {where}"
        verdict = self._course.non_finite.verdict(found.skipped, message)
        if verdict is not None:
            return self._end(State.FAILED, verdict.reason, verdict.message)
        if self._course.non_finite.rolls_back:
            return self._end(None, Reason.ROLLED_BACK, message)
        report = Report(Reason.STEP_SKIPPED, -1, found.step, message)
        return [report, *self._next_round()]

    def _keep_snapshot(self) -> Command:
        save = self._wants_saving
        self._snapshot_step = self._step
        if save:
            self._saved_step, self._checkpoint_due = self._step, False
        return KeepSnapshot(self._step, save)

    # The next round begins.

    def _next_round(self) -> list[Command]:
        self._forget_what_was_undone()
        dismissed = [*self._relieve(), *self._dismiss()]
        work = self._next_work()
        if work is None:
            ended = self._end(None, Reason.SERVICE_RESTARTED, "The service is stopping.")
            return [*dismissed, *ended]
        workers = self._eligible()
        if not workers:
            lost = self._end(None, Reason.ALL_WORKERS_LOST, "No worker has the newest state.")
            return [*dismissed, *lost]
        # Members enter a formation to train in it; other work each of them does by itself.
        is_training = isinstance(work, Train)
        formed = self._form(workers) if is_training or not self._formation else []
        chosen = Train(self._steps()) if is_training else work
        return [*dismissed, *formed, *self._begin_round(chosen)]

    def _forget_what_was_undone(self) -> None:
        """A step that is not finite and does not count is made again."""
        if self._not_finite and self._not_finite.step > self._step:
            self._not_finite = None

    def _next_work(self) -> Work | None:
        """The next piece of work at this step; None where a draining run may let go."""
        if self._not_finite:
            return Locate()
        if self._is_check_due:
            return Verify(drawn(self._course.seed, self._step, self._course.shards))
        if self._wants_saving or self._someone_waits_for_the_state:
            return Snapshot(Content.STATE)
        if self._draining:
            return None
        for split, blocks in self._course.splits_due(self._step):
            if (split, self._step) not in self._measured:
                first = self._measured_until
                return Evaluate(split, first, min(blocks, first + self._blocks_a_round))
        if self._step < self._course.steps:
            return Train(1)
        return Snapshot(Content.MODEL)

    @property
    def _is_check_due(self) -> bool:
        """Whether workers' bits are to be compared here, before anything is kept of them."""
        is_due = self._course.is_checked(self._step) and self._verified != self._step
        return is_due and len(self._crew.holders(self._crew)) > 1

    @property
    def _blocks_a_round(self) -> int:
        return self._block_pace.steps * max(1, len(self._able()))

    @property
    def _wants_saving(self) -> bool:
        due = self._checkpoint_due or self._draining or self._step == self._course.steps
        return (due or self._course.is_kept(self._step)) and self._saved_step != self._step

    @property
    def _someone_waits_for_the_state(self) -> bool:
        return len(self._eligible()) < min(len(self._crew.ready()), self._most_members)

    @property
    def _most_members(self) -> int:
        """A member without a shard only keeps the state, for one that it is to relieve."""
        return self._course.shards + len(self._crew.reliefs())

    def _eligible(self) -> list[int]:
        """Workers that can be members now: they hold the state, or can come by it."""
        ready = self._crew.ready()
        holders = self._crew.holders(ready)
        if self._step == self._course.start_step or self._snapshot_step == self._step:
            return list(ready[: self._most_members])
        nodes = {self._crew[n].node for n in holders} if self._cells_are_shared else set()
        able = [n for n in ready if n in holders or self._crew[n].node in nodes]
        return able[: self._most_members]

    def _form(self, workers: list[int]) -> list[Command]:
        """A new formation, where the one there is does not stand or would do less well."""
        old = self._formation.members if self._formation else ()
        cells = cells_of(
            self._crew, workers, {m.worker: m.cell for m in old}, are_shared=self._cells_are_shared
        )
        counts = {m.worker: m.last - m.first for m in old}
        shares = shared_out(self._course.shards, in_turn(cells), self._speeds, counts)
        members = members_of(self._crew, cells, shares)
        seconds = self._patience(workers)
        if self._may_stay(members, seconds):
            return []
        number = self._number + 1
        self._formation = Formation(
            number, members, self._key, self._segment, seconds, self._certificate
        )
        self._formation_stands, self._formation_is_entered = True, False
        return [Form(self._formation)]

    def _may_stay(self, members: tuple[Member, ...], patience: float) -> bool:
        """Whether the formation there is does as well as one of these members."""
        old = self._formation
        if old is None or not self._formation_stands or old.members != members:
            return False
        return not is_out_of_date(old.patience, patience)

    def _patience(self, workers: list[int]) -> float:
        longest = self._pace.longest_step
        seconds = patience(longest, has_novice=self._crew.have_novice(workers))
        doubts = self._fruitless + 2 * self._policy.frozen_at(self._step)
        return min(seconds * 2.0**doubts, MOST_PATIENCE)

    def _steps(self) -> int:
        """How many steps the next round has."""
        if self._crew.have_novice(self.active):
            return 1
        halts = (
            self._course.steps_until_halt(self._step),
            self._policy.steps_until_suspect(self._step),
            self._course.steps_until_check(self._step) if len(self.active) > 1 else None,
        )
        left = min(halt for halt in halts if halt is not None)
        return min(evened(left, self._pace.steps), self._course.most_steps)

    def _begin_round(self, work: Work) -> list[Command]:
        assert self._formation is not None, "a round has a formation"
        self._number += 1
        parts = self._parts(work)
        self._round = Round(self._number, self._step, work, set(parts))
        # Of workers that died together and were asked one after the other, as for a snapshot, the
        # deaths are one: they count by the newest round that all took part in.
        if not isinstance(work, Snapshot | Locate):
            self._common_round = self._number
        sends = [self._send(worker, part, self._formation) for worker, part in parts.items()]
        self._formation_is_entered |= isinstance(work, Train)
        self._was_in_company |= isinstance(work, Train) and len(parts) > 1
        return [Expect(self._number, self._limit(work, self._formation)), *sends]

    def _limit(self, work: Work, formation: Formation) -> float:
        match work:
            case Train(steps):
                return round_limit(steps, self._pace.step_seconds, formation.patience)
            case Evaluate():
                return evaluation_limit(self._block_pace.steps, self._block_pace.step_seconds)
            case _:
                return other_limit(self._pace.step_seconds)

    def _parts(self, work: Work) -> dict[int, Work]:
        match work:
            case Train():
                return dict.fromkeys(self.active, work)
            case Verify():
                return dict.fromkeys(self._crew.holders(self._crew), work)
            case Evaluate(split, first, last):
                shares = divide(last - first, self._able()).items()
                return {w: Evaluate(split, first + a, first + b) for w, (a, b) in shares}
            case Snapshot() | Locate():
                return {self._able()[0]: work}

    def _able(self) -> tuple[int, ...]:
        """Workers that stand at the step, or can by themselves, in no formation."""
        return self._crew.holders(self._crew) or tuple(self._eligible())

    def _send(self, worker: int, work: Work, formation: Formation) -> Send:
        enters = isinstance(work, Train) and not self._formation_is_entered
        fence = self._fence.get(self._crew[worker].node, ()) if enters else ()
        if isinstance(work, Train):
            load = enters and self._cell_lacks_state(worker)
        else:
            load = self._lacks_state(worker)
        self._crew[worker].has_entered |= enters
        return Send(worker, self._number, self._step, formation, work, load, fence)

    def _lacks_state(self, worker: int) -> bool:
        """Whether the worker neither holds the state nor begins with it.

        What a worker was started with it has only until it has entered a formation.
        """
        begins = self._step == self._course.start_step and not self._crew[worker].has_entered
        return not begins and not self._crew[worker].holds

    def _cell_lacks_state(self, worker: int) -> bool:
        """Whether the worker leads a cell of which no member holds the state or begins with it."""
        assert self._formation is not None, "a round has a formation"
        if not self._lacks_state(worker):
            return False
        cells = {member.worker: member.cell for member in self._formation.members}
        cell = cells[worker]
        holders = self._crew.holders([w for w, its in cells.items() if its == cell])
        return leaders(self._formation)[cell] == worker and not holders

    def _drain(self) -> list[Command]:
        self._draining = True
        if self._running:
            return []
        return self._end(None, Reason.SERVICE_RESTARTED, "The service is stopping.")

    def _end(
        self,
        state: State | None,
        reason: Reason,
        message: str = "",
        before: Command | None = None,
        until: int | None = None,
    ) -> list[Command]:
        # Who is still there did well, and may serve another job.
        self._ended = True
        return [*([before] if before else []), End(state, reason, message, until)]


def _place(failure: Failure, stood: int) -> str:
    """Where in a round of several steps a worker failed, as far as that is known."""
    if stood >= failure.step:
        return f" (after step {stood})"
    return f" (at one of the {failure.steps})" if failure.end > failure.step + 1 else ""


def _wrong_step(event: WorkerAnswered, round: Round, time: float) -> WorkerFailed:
    message = (
        f"worker {event.worker} says that it stands at step {event.step} after a round from "
        f"{round.step} to {round.end}"
    )
    return WorkerFailed(event.worker, Reason.WORKER_ERROR, message, time)
