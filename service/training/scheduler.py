"""Which jobs train with how many workers, and what the others wait for: pure functions of a queue.

A job that trains keeps its fewest workers whatever comes. What CPUs are left go to jobs in order,
first up to the workers each one asks for, then up to the most it may have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradloom.service.jobs.job import Transition
from gradloom.service.jobs.states import Reason, State

_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Demand:
    """A job, and how many workers it needs, wants and may have; 0 stands for as many as wanted.

    no_place is why it would find no place now, for one that found none when it was started.
    """

    name: str
    workers: int
    fewest: int = 0
    most: int = 0
    no_place: str = ""

    @property
    def least(self) -> int:
        """Workers it does not train without."""
        return self.fewest or self.workers


@dataclass(frozen=True, slots=True)
class Start:
    """The job may start and holds this many CPUs at least; its workers may have to share them."""

    name: str
    cpus: int


@dataclass(frozen=True, slots=True)
class Hold:
    """The job goes on waiting: its place from 1, who holds the CPUs it needs, and why."""

    name: str
    position: int
    blocked_by: tuple[str, ...]
    reason: Reason
    message: str


Decision = Start | Hold


def decide(
    queue: Sequence[Demand],
    training: Sequence[Demand],
    cpus: int,
    *,
    may_share: bool,
    trouble: str = "",
) -> tuple[Decision, ...]:
    """Starts jobs in order as far as they fit beside those that train; nobody overtakes.

    Jobs that train are counted with their fewest workers, since they make room. may_share: a job
    that needs more workers than there are CPUs gets them all and its workers share them (this
    machine alone); else it waits for a larger cluster and the others pass it by, as they do one
    that finds no place beside what others run on the cluster.
    trouble is why nothing can be started at all.
    """
    if trouble:
        return tuple(_in_trouble(job, place, trouble) for place, job in enumerate(queue, 1))
    held = {job.name: min(job.least, cpus) for job in training}
    in_order = True
    decisions: list[Decision] = []
    for job in queue:
        position = 1 + sum(isinstance(decision, Hold) for decision in decisions)
        needed, free = min(job.least, cpus), cpus - sum(held.values())
        if job.least > cpus and not may_share:
            decisions.append(_too_large(job, position, cpus))
        elif job.no_place:
            decisions.append(_insufficient(job, position, job.no_place))
        elif in_order and needed <= free:
            held[job.name] = needed
            decisions.append(Start(job.name, needed))
        else:
            in_order = False
            decisions.append(_hold(job, position, held, free, cpus))
    return tuple(decisions)


def allot(training: Sequence[Demand], cpus: int) -> dict[str, int]:
    """How many workers each job that trains may have now."""
    workers = {job.name: job.least for job in training}
    free = cpus - sum(min(count, cpus) for count in workers.values())
    for bound in ({job.name: job.workers for job in training}, {j.name: j.most for j in training}):
        for name, most in bound.items():
            more = max(0, min(free, most - workers[name]))
            workers[name], free = workers[name] + more, free - more
    return workers


def pause(moves: Sequence[Transition]) -> float:
    """Seconds after its newest move in which a job is not started: 0, 60, 120, … 600.

    The more often in a row it came back to the queue as its workers found no place, though there
    seemed to be room: each time is two lines of its history.
    """
    times = 0
    for move in reversed(moves):
        if move.state is State.QUEUED and move.reason is Reason.INSUFFICIENT_CAPACITY:
            times += 1
        elif move.state is not State.STARTING:
            break
    return (
        0.0 if times < 2 else min(_FIRST_PAUSE_SECONDS * 2 ** (times - 2), _LONGEST_PAUSE_SECONDS)
    )


def _in_trouble(job: Demand, position: int, trouble: str) -> Hold:
    return Hold(job.name, position, (), Reason.RAY_UNREACHABLE, trouble)


def _too_large(job: Demand, position: int, cpus: int) -> Hold:
    message = f"needs {job.least} workers, the cluster has {cpus} CPUs: add nodes or ask for less"
    return _insufficient(job, position, message)


def _insufficient(job: Demand, position: int, message: str) -> Hold:
    return Hold(job.name, position, (), Reason.INSUFFICIENT_CAPACITY, message)


def _hold(job: Demand, position: int, held: Mapping[str, int], free: int, cpus: int) -> Hold:
    holders = ", ".join(f"{name} ({count})" for name, count in held.items())
    message = f"needs {min(job.least, cpus)} of {cpus} CPUs, {free} free; held by {holders}"
    return Hold(job.name, position, tuple(held), Reason.WAITING_FOR_CAPACITY, message)
