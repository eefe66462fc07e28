"""The training floor: takes jobs from the store as CPUs come free and has them trained."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Protocol

import structlog

from gradloom.service.errors import GradloomError, WrongState
from gradloom.service.fleet.departure import RUNNER
from gradloom.service.jobs.job import Job, Queue, StateChanged
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.deadlines import DRAIN
from gradloom.service.training.runner import turns
from gradloom.service.training.scheduler import Decision, Demand, Hold, Start, allot, decide, pause
from gradloom.service.training.surroundings import Size, Surroundings, Wishes
from gradloom.service.wording import plural

log = structlog.get_logger()

# Users' commits wake the floor at once; this is for what no commit tells.
_LOOK_AGAIN_SECONDS = 1.0
_RESUMABLE = frozenset({State.STARTING, State.RUNNING, State.RECOVERING})


Turns = Generator[None, None, None]


class Hand(Protocol):
    """What carries out a job's turns: a thread."""

    def is_alive(self) -> bool:
        """Whether turns are left."""
        ...

    def join(self, timeout: float | None = None) -> None:
        """Waits until none are left, up to timeout seconds."""
        ...


def in_a_thread(name: str, turns: Turns) -> Hand:
    """Takes all turns one after the other."""
    thread = threading.Thread(target=lambda: deque(turns, 0), name=name, daemon=True)
    thread.start()
    return thread


class _Running:
    """A job that is being trained, and what it needs."""

    def __init__(self, hand: Hand, wishes: Wishes, demand: Demand) -> None:
        self.hand = hand
        self.wishes = wishes
        self.demand = demand


class Floor:
    """Runs in a thread of its own; every job that is trained has another one.

    Without threads look is called, and hand gives what carries out a job.
    """

    def __init__(
        self, around: Surroundings, hand: Callable[[str, Turns], Hand] = in_a_thread
    ) -> None:
        self._around = around
        self._hand = hand
        self._running: dict[str, _Running] = {}
        self._rests_until: dict[str, float] = {}
        self._wake = threading.Event()
        self._own_threads: set[int] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="floor")
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Resumes what was running when the service last ended, then takes up the queue."""
        self._unsubscribe = self._around.store.subscribe(self._heard)
        self._thread.start()

    def stop(self) -> None:
        """Lets running jobs save their state, then ends; they go on when the floor starts again."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        self._unsubscribe()

    def _heard(self, _name: str) -> None:
        """Users' wishes wake the floor; what it and those who train write down it knows."""
        if threading.get_ident() not in self._own_threads:
            self._wake.set()

    def _work(self) -> None:
        self._own_threads.add(threading.get_ident())
        while not self._stopping.is_set():
            self._wake.clear()
            self.look()
            self._wake.wait(_LOOK_AGAIN_SECONDS)
        self._drain()

    def let_go(self) -> None:
        """Has running jobs save their state and end."""
        for running in self._running.values():
            running.wishes.drain.set()

    def _drain(self) -> None:
        self.let_go()
        deadline = self._around.monotonic() + DRAIN
        for running in self._running.values():
            running.hand.join(max(deadline - self._around.monotonic(), 0.0))

    def look(self) -> None:
        """Does what the jobs in the store ask for now, as far as the store can be reached."""
        try:
            self._look()
        except GradloomError as error:
            log.warning("store_unavailable", error=str(error))

    def _look(self) -> None:
        self._forget_the_ended()
        self._around.fleet.avoid(self._around.suspects.drained(self._around.monotonic()))
        jobs = self._around.store.unfinished()
        for job in jobs:
            self._heed(job)
        cut_off = [job for job in jobs if self._is_cut_off(job)]
        queue = [job for job in jobs if job.state is State.QUEUED]
        decisions, sizes = self._shared_out(cut_off, queue)
        for name, running in self._running.items():
            running.wishes.size = sizes[name]
        for job in cut_off:
            if job.name not in self._rests_until and not self._around.fleet.trouble:
                self._resume(job, sizes[job.name])
        for job, decision in zip(queue, decisions, strict=True):
            self._carry_out(job, decision, sizes)

    def _shared_out(
        self, cut_off: list[Job], queue: list[Job]
    ) -> tuple[tuple[Decision, ...], dict[str, Size]]:
        """What becomes of the jobs in the queue, and how large those that train may be."""
        fleet, cpus = self._around.fleet, self._around.fleet.cpus
        training = [r.demand for r in self._running.values()] + [_demand(job) for job in cut_off]
        waiting = [self._waiting_demand(job) for job in queue]
        decisions = decide(
            waiting, training, cpus, may_share=fleet.may_share, trouble=fleet.trouble
        )
        holds = [decision for decision in decisions if isinstance(decision, Hold)]
        self._around.metrics.queue(Counter(hold.reason for hold in holds))
        started = {decision.name for decision in decisions if isinstance(decision, Start)}
        training += [demand for demand in waiting if demand.name in started]
        fewest = {demand.name: demand.least for demand in training}
        workers = allot(training, cpus)
        return decisions, {name: Size(workers[name], fewest[name]) for name in workers}

    def _waiting_demand(self, job: Job) -> Demand:
        """What a job in the queue needs, and whether it would find that if it was turned away."""
        demand = _demand(job)
        if job.reason is not Reason.INSUFFICIENT_CAPACITY:
            return demand
        since = (self._around.now() - job.transitions[-1].time).total_seconds()
        rests = job.message if since < pause(job.transitions) else ""
        return replace(demand, no_place=self._around.fleet.lacks(demand.least) or rests)

    def _carry_out(self, job: Job, decision: Decision, sizes: dict[str, Size]) -> None:
        match decision:
            case Start(name, cpus):
                size = sizes[name]
                message = _room(size.workers, max(cpus, min(size.workers, self._around.fleet.cpus)))
                if self._record(job, StateChanged(State.STARTING, Reason.SCHEDULED, message)):
                    self._begin(job, size)
            case Hold():
                self._tell_why(job, decision)

    def _forget_the_ended(self) -> None:
        now = self._around.monotonic()
        for name in [name for name, r in self._running.items() if not r.hand.is_alive()]:
            del self._running[name]
            self._rests_until[name] = now + _LOOK_AGAIN_SECONDS
            self._wake.set()
        self._rests_until = {name: end for name, end in self._rests_until.items() if end > now}

    def _heed(self, job: Job) -> None:
        """Does what its user wants of a job."""
        running = self._running.get(job.name)
        if running:
            running.demand = _demand(job)
        if job.state is State.CANCELLING and running:
            running.wishes.cancel.set()
        elif job.state is State.CANCELLING:
            self._record(job, StateChanged(State.CANCELLED, Reason.CANCEL_REQUESTED))

    def _is_cut_off(self, job: Job) -> bool:
        """Whether a job was running when the service ended, or its run was cut off."""
        return job.state in _RESUMABLE and job.name not in self._running

    def _resume(self, job: Job, size: Size) -> None:
        """Goes on with a job that was running when the service ended, or whose run was cut off.

        Not at once in the latter case: what cut it off, a store that is away, may take a while.
        """
        if job.state is not State.RECOVERING:
            message = "The service was started again; the job goes on from its newest checkpoint."
            self._record(job, StateChanged(State.RECOVERING, Reason.SERVICE_RESTARTED, message))
        self._begin(job, size)

    def _tell_why(self, job: Job, hold: Hold) -> None:
        since = job.queue.wait_start_time if job.queue else self._around.now()
        queue = Queue(hold.position, hold.blocked_by, since)
        if (job.queue, job.reason, job.message) != (queue, hold.reason, hold.message):
            self._around.store.update(job.name, lambda job: _waiting(job, queue, hold))

    def _record(self, job: Job, event: StateChanged) -> bool:
        """Whether the job could be moved; its user may have moved it meanwhile."""
        try:
            self._around.metrics.state(self._around.store.record(job.name, event))
        except WrongState:
            self._wake.set()
            return False
        return True

    def _begin(self, job: Job, size: Size) -> None:
        wishes = Wishes(size)
        hand = self._hand(f"{RUNNER}{job.name}", self._turns(job.name, wishes))
        self._running[job.name] = _Running(hand, wishes, _demand(job))

    def _turns(self, name: str, wishes: Wishes) -> Turns:
        thread = threading.get_ident()
        self._own_threads.add(thread)
        try:
            yield from turns(name, self._around, wishes)
        finally:  # another thread may have its number next
            self._own_threads.discard(thread)
        self._wake.set()


def _room(workers: int, cpus: int) -> str:
    if workers > cpus:
        return f"{plural(workers, 'worker')} share {plural(cpus, 'CPU')}: fewer are as fast."
    return f"{plural(workers, 'worker')} on {plural(cpus, 'CPU')}."


def _demand(job: Job) -> Demand:
    resources = job.spec.resources
    return Demand(job.name, resources.workers, resources.fewest, resources.most)


def _waiting(job: Job, queue: Queue, hold: Hold) -> Job:
    return replace(job, queue=queue, reason=hold.reason, message=hold.message)
