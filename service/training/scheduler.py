"""Which queued job may start now, and what the others wait for: a pure function of the queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradloom.service.jobs.states import Reason


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job and the workers it wants."""

    name: str
    workers: int


@dataclass(frozen=True, slots=True)
class Start:
    """The job may start and holds this many CPUs; fewer than workers means they share them."""

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
    queue: Sequence[Waiting],
    running: Mapping[str, int],
    cpus: int,
    *,
    may_share: bool,
    trouble: str = "",
) -> tuple[Decision, ...]:
    """Starts jobs in order as far as they fit the free CPUs; nobody overtakes.

    running maps jobs to the CPUs they hold. may_share: a job that wants more workers than there
    are CPUs gets them all and its workers share them (this machine alone); else it waits for a
    larger cluster and the others pass it by. trouble is why nothing can be started at all.
    """
    if trouble:
        return tuple(_in_trouble(job, place, trouble) for place, job in enumerate(queue, 1))
    free, held, in_order = cpus - sum(running.values()), dict(running), True
    decisions: list[Decision] = []
    for job in queue:
        position = 1 + sum(isinstance(decision, Hold) for decision in decisions)
        wanted = min(job.workers, cpus)
        if job.workers > cpus and not may_share:
            decisions.append(_too_large(job, position, cpus))
        elif in_order and wanted <= free:
            free, held[job.name] = free - wanted, wanted
            decisions.append(Start(job.name, wanted))
        else:
            in_order = False
            decisions.append(_hold(job, position, held, free, cpus))
    return tuple(decisions)


def _in_trouble(job: Waiting, position: int, trouble: str) -> Hold:
    return Hold(job.name, position, (), Reason.RAY_UNREACHABLE, trouble)


def _too_large(job: Waiting, position: int, cpus: int) -> Hold:
    message = f"needs {job.workers} workers, the cluster has {cpus} CPUs: add nodes or ask for less"
    return Hold(job.name, position, (), Reason.INSUFFICIENT_CAPACITY, message)


def _hold(job: Waiting, position: int, held: Mapping[str, int], free: int, cpus: int) -> Hold:
    holders = ", ".join(f"{name} ({count})" for name, count in held.items())
    message = f"needs {min(job.workers, cpus)} of {cpus} CPUs, {free} free; held by {holders}"
    return Hold(job.name, position, tuple(held), Reason.WAITING_FOR_CAPACITY, message)
