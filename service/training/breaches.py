"""Who has to leave a formation that broke: what members say of each other in, culprits out. Pure.

A member that has answered lives and can be reached, so being called lost is an echo: it let go of
its peers when it saw another fail. That two of them cannot reach each other is a cut, and one side
of it has to leave. One that has not answered is gone, frozen or beyond a cut, as its peers say.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gradloom.service.jobs.states import Reason
from gradloom.worker.exchange.exchange import Why

# So often in a row nothing may come of a formation that everybody lives through.
MOST_FRUITLESS = 3

_SILENT = {
    Why.LOST: Reason.WORKER_LOST,
    Why.FROZEN: Reason.WORKER_FROZEN,
    Why.UNREACHABLE: Reason.NETWORK_CUT,
    Why.CORRUPT: Reason.WORKER_FROZEN,
}
_ANSWERED = {**_SILENT, Why.LOST: Reason.NODE_SUSPECT, Why.CORRUPT: Reason.NODE_SUSPECT}


@dataclass(frozen=True, slots=True)
class Blame:
    """What a member says of another one."""

    by: int
    culprit: int
    why: Why
    message: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """A worker that has to leave, and why."""

    worker: int
    reason: Reason
    message: str


def silent(workers: Iterable[int], blames: Collection[Blame]) -> list[Culprit]:
    """Those who have not answered and are given up."""
    return [_silent(worker, blames) for worker in sorted(workers)]


def _silent(worker: int, blames: Collection[Blame]) -> Culprit:
    message = f"worker {worker} has not answered in time and is given up as frozen"
    return _said_to_be(worker, blames) or Culprit(worker, Reason.WORKER_FROZEN, message)


def frozen(worker: int, seconds: float, blames: Collection[Blame]) -> Culprit:
    """One of which nothing was heard for so long."""
    message = f"worker {worker} has said nothing for {seconds:.1f} s and is given up as frozen"
    return _said_to_be(worker, blames) or Culprit(worker, Reason.WORKER_FROZEN, message)


def _said_to_be(worker: int, blames: Collection[Blame]) -> Culprit | None:
    for blame in sorted(blames, key=lambda blame: blame.by):
        if blame.culprit == worker:
            return Culprit(worker, _SILENT[blame.why], blame.message)
    return None


def cut_off(answered: Mapping[int, int], blames: Collection[Blame]) -> list[Culprit]:
    """The members beyond a cut of the network; answered maps members to their cells.

    The larger side goes on, of two alike that with the lowest worker.
    """
    severed = {
        frozenset((answered[blame.by], answered[blame.culprit])): blame
        for blame in blames
        if blame.why is Why.UNREACHABLE and {blame.by, blame.culprit} <= answered.keys()
    }
    left = {pair: blame for pair, blame in severed.items() if len(pair) > 1}
    culprits: list[Culprit] = []
    while left:
        cell = _most_cut_off(answered, left)
        message = next(blame.message for pair, blame in left.items() if cell in pair)
        left = {pair: blame for pair, blame in left.items() if cell not in pair}
        beyond = sorted(worker for worker, its in answered.items() if its == cell)
        culprits += [_beyond(worker, message) for worker in beyond]
    return culprits


def _beyond(worker: int, message: str) -> Culprit:
    told = f"worker {worker} is on the smaller side of a network that is cut: {message}"
    return Culprit(worker, Reason.NETWORK_CUT, told)


def _most_cut_off(answered: Mapping[int, int], severed: Iterable[frozenset[int]]) -> int:
    """The cell that the most others cannot reach; of those alike the smallest, then the newest."""
    degrees = Counter(cell for pair in severed for cell in pair)

    def rank(cell: int) -> tuple[int, int, int]:
        workers = [worker for worker, its in answered.items() if its == cell]
        return degrees[cell], -len(workers), min(workers)

    return max(degrees, key=rank)


def most_blamed(answered: Collection[int], blames: Collection[Blame]) -> list[Culprit]:
    """Of members that all live and get nowhere together, the one that most of them name."""
    counted = Counter(blame.culprit for blame in blames if blame.culprit in answered)
    if not counted:
        return []
    worker = max(counted, key=lambda culprit: (counted[culprit], culprit))
    blame = next(blame for blame in blames if blame.culprit == worker)
    return [Culprit(worker, _ANSWERED[blame.why], blame.message)]


def lost_nodes(gone: Mapping[int, str], left: Collection[str]) -> list[tuple[str, list[int]]]:
    """Nodes whose workers, more than one, all vanished while others are left, and those workers.

    gone maps the workers that died together to their nodes, left are the nodes of the others.
    """
    by_node: dict[str, list[int]] = {}
    for worker in sorted(gone):
        by_node.setdefault(gone[worker], []).append(worker)
    return [
        (node, workers)
        for node, workers in by_node.items()
        if node and len(workers) > 1 and left and node not in left
    ]
