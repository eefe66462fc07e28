"""How many workers a run has: who is missing is started, who is one too many leaves. Pure."""

from gradloom.service.jobs.states import Reason
from gradloom.service.training.course import Course
from gradloom.service.training.crew import Crew, Worker
from gradloom.service.training.events import Command, Report, StartWorker, StopWorker
from gradloom.service.training.losses import Losses
from gradloom.service.wording import plural


class Staff:
    """Fills the crew up to as many as are wanted; has others take the place of those that leak."""

    def __init__(self, course: Course, crew: Crew, losses: Losses) -> None:
        self._crew = crew
        self._losses = losses
        self._shards = course.shards
        self._least = course.least
        self._wanted = course.workers
        self._next = 0
        self._is_closed = False

    @property
    def are_enough(self) -> bool:
        """Whether so many are ready that the run can begin."""
        return len(self._crew.ready()) >= self._least

    @property
    def _most(self) -> int:
        """How many there may be: more than are wanted while some take the place of others."""
        return self._wanted + len(self._crew.reliefs())

    def resize(self, least: int, workers: int, step: int) -> list[Command]:
        """Wants another number from now on, and says so where it is another."""
        before, self._wanted = self._wanted, max(1, min(workers, self._shards))
        self._least = max(1, min(least, self._wanted))
        if self._wanted == before:
            return []
        message = f"{plural(self._wanted, 'worker')} from now on, {before} before."
        return [Report(Reason.WORKERS_CHANGED, -1, step, message)]

    def close(self) -> None:
        """Nobody is started any more."""
        self._is_closed = True

    def fill(self) -> list[Command]:
        """Starts as many workers as are missing, later and later where they go on failing."""
        missing = 0 if self._is_closed else max(self._most - len(self._crew), 0)
        return [self._start() for _ in range(missing)]

    def _start(self, relieves: int | None = None) -> Command:
        worker = self._next
        self._next += 1
        self._crew[worker] = Worker(relieves=relieves)
        return StartWorker(worker, self._losses.policy.backoff())

    def dismiss(self) -> list[Command]:
        """Lets go of workers that are too many, of those first whose leaving costs least.

        That is of those on nodes that are drained, if the state is elsewhere, too.
        """
        bad = self._on_drained_nodes()
        by_cost = sorted(
            self._crew,
            key=lambda n: (n not in bad, self._crew[n].ready is not None, self._crew[n].holds, -n),
        )
        dismissed = by_cost[: max(len(self._crew) - self._most, 0)]
        for worker in dismissed:
            del self._crew[worker]
        return [StopWorker(worker) for worker in dismissed]

    def _on_drained_nodes(self) -> frozenset[int]:
        """Workers that may be lost soon, and can be spared."""
        drained = self._losses.drained
        bad = frozenset(n for n, node in self._crew.nodes(self._crew).items() if node in drained)
        holders = set(self._crew.holders(self._crew))
        return frozenset() if holders and holders <= bad else bad

    def recycle(self, active: tuple[int, ...]) -> list[Command]:
        """Starts another one for a worker whose memory grows; one at a time."""
        old = self._crew.leaking(active)
        if old is None or self._crew.reliefs() or self._is_closed:
            return []
        return [self._start(relieves=old)]

    def relieve(self, step: int) -> list[Command]:
        """Lets go of those in whose place others hold the state by now."""
        done = [(new, old) for new, old in self._crew.reliefs().items() if self._crew[new].holds]
        return [command for new, old in done for command in self._let_go(old, new, step)]

    def _let_go(self, old: int, new: int, step: int) -> list[Command]:
        worker = self._crew.pop(old)
        message = f"Its memory grew {worker.growth}: worker {new} has taken its place."
        return [Report(Reason.WORKER_RECYCLED, old, step, message, worker.node), StopWorker(old)]
