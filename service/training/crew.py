"""The workers of a run and what is known of each: a table, and formations made of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gradloom.service.training.events import WorkerAnswered, WorkerReady
from gradloom.service.training.growth import Growth
from gradloom.service.training.shares import Speeds, apportion, ranges, rearranged
from gradloom.worker.messages import Formation, Member


@dataclass(slots=True)
class Worker:
    """A worker: where it is once it is ready, and whether it holds the job's newest state.

    It is a novice until it has made a step; has_entered is whether it was ever in a formation.
    relieves is the worker that it was started in the place of, while that one still trains.
    """

    ready: WorkerReady | None = None
    holds: bool = False
    is_novice: bool = True
    has_entered: bool = False
    growth: Growth = field(default_factory=Growth)
    relieves: int | None = None

    @property
    def node(self) -> str:
        """Its node, once it is ready."""
        return self.ready.node if self.ready else ""


class Crew(dict[int, Worker]):
    """Workers by number; a worker that left is not in it."""

    def ready(self) -> tuple[int, ...]:
        """Workers that are ready, in order."""
        return tuple(sorted(number for number, worker in self.items() if worker.ready))

    def holders(self, among: Collection[int]) -> tuple[int, ...]:
        """Those who hold the newest state, in order."""
        return tuple(sorted(n for n in among if n in self and self[n].holds))

    def reliefs(self) -> dict[int, int]:
        """Workers that are to take the place of another one, and that one, if it is still there."""
        found = ((number, worker.relieves) for number, worker in self.items())
        return {new: old for new, old in found if old is not None and old in self}

    def leaking(self, among: Iterable[int]) -> int | None:
        """The first whose memory grows without end; None where that of none does."""
        return next((number for number in among if self[number].growth.is_a_leak), None)

    def look_again_later(self, worker: int | None) -> None:
        """Whoever was to relieve a worker is gone: another one is started after as many rounds."""
        if worker is not None and worker in self:
            self[worker].growth = Growth()

    def trained(self, words: Iterable[WorkerAnswered]) -> None:
        """Workers made steps, and took up so much memory."""
        for word in words:
            if worker := self.get(word.worker):
                worker.is_novice, worker.growth = False, worker.growth.after(word.resident)

    def nodes(self, workers: Iterable[int]) -> dict[int, str]:
        """The nodes of those workers that are there."""
        return {number: self[number].node for number in workers if number in self}

    def have_novice(self, workers: Iterable[int]) -> bool:
        """Whether one of the workers has not made a step yet."""
        return any(self[number].is_novice for number in workers)


def cells_of(
    crew: Crew, workers: Sequence[int], before: Mapping[int, int], *, are_shared: bool
) -> dict[int, int]:
    """The cell of each worker: that of its node, or its own where none are shared.

    A node's cell keeps its number as long as one of its members stays; a new one is called after
    its lowest worker, so that no number is ever used for two.
    """
    if not are_shared:
        return {worker: worker for worker in workers}
    by_node = {crew[w].node: cell for w, cell in before.items() if w in crew and w in workers}
    for worker in sorted(workers):
        by_node.setdefault(crew[worker].node, worker)
    return {worker: by_node[crew[worker].node] for worker in workers}


def in_turn(cells: Mapping[int, int]) -> list[int]:
    """Workers in the order in which ranges are handed out: cell by cell, so that few roots leave.

    Cells are in the order of their lowest workers.
    """
    lowest: dict[int, int] = {}
    for worker in sorted(cells):
        lowest.setdefault(cells[worker], worker)
    return sorted(cells, key=lambda worker: (lowest[cells[worker]], worker))


def shared_out(
    shards: int, turn: Sequence[int], speeds: Speeds, before: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """The shards of each worker; before are their counts till now, kept where they do as well."""
    costs = speeds.costs(turn)
    if before.keys() == set(turn):
        counts = rearranged([before[worker] for worker in turn], costs)
    else:
        counts = apportion(shards, costs)
    return dict(zip(turn, ranges(counts), strict=True))


def members_of(
    crew: Crew, cells: Mapping[int, int], shares: Mapping[int, tuple[int, int]]
) -> tuple[Member, ...]:
    """The members of a formation, in the order of their numbers."""
    return tuple(
        _member(crew[worker].ready, cells[worker], shares[worker]) for worker in sorted(cells)
    )


def _member(ready: WorkerReady | None, cell: int, shares: tuple[int, int]) -> Member:
    assert ready is not None, "only workers that are ready are members"
    return Member(ready.worker, cell, ready.address, ready.pid, *shares)


def leaders(formation: Formation) -> dict[int, int]:
    """The lowest worker of each cell."""
    lowest: dict[int, int] = {}
    for member in formation.members:
        lowest.setdefault(member.cell, member.worker)
    return lowest
