"""Actors that wait for jobs, are lent to them, and come back.

They belong to this process's connection to Ray and end with it, however it ends: none is detached
and none has a name, so nothing has to be swept after a crash.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ray.exceptions import RayError

from gradloom.service.fleet.ray_cluster import Cluster
from gradloom.service.fleet.ray_worker import (
    RayWorker,
    Reference,
    Terms,
    answer_of,
    arrived,
    ask_for,
)
from gradloom.worker.messages import BadAnswer, decode
from gradloom.worker.rest import Rest

# As in process_pool.py, but less: idle actors hold CPUs of the cluster.
_IDLE_SECONDS = 60.0
_REFILL_SECONDS = 30.0
_PATIENCE_SECONDS = 2.0
_REST_SECONDS = 5.0
_MOST_BYTES = 1 << 30
# A process that has its CPU says where it is after two or three.
_START_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Resting:
    worker: RayWorker
    answer: Reference
    deadline: float


@dataclass(frozen=True, slots=True)
class _Idle:
    worker: RayWorker
    since: float


@dataclass(frozen=True, slots=True)
class _Asked:
    worker: RayWorker
    since: float


class ActorPool:
    """Keeps count idle actors of a profile; those of others are asked for when they are wanted.

    Any thread may take and give back; one looks after what waits, each second or so.
    """

    def __init__(
        self,
        count: int,
        profile: str,
        cluster: Cluster,
        terms: Terms,
        clock: Callable[[], float],
    ) -> None:
        self._count = count
        self._profile = profile
        self._cluster = cluster
        self._terms = terms
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: deque[_Idle] = deque()
        self._resting: list[_Resting] = []
        self._asked: list[_Asked] = []
        self._refill_time = 0.0
        self._losses = 0
        self._is_closed = False

    @property
    def idle(self) -> tuple[RayWorker, ...]:
        """Those that wait."""
        with self._lock:
            return tuple(each.worker for each in self._idle)

    def take(self, profile: str) -> RayWorker:
        """One that waits and is warm, or one that is asked for now."""
        if profile != self._profile:
            self._make_room()
            return self._asked_for(profile)
        self._await_one()
        self._leave()
        with self._lock:
            self._refill_time = self._clock() + _REFILL_SECONDS
            if self._idle:
                return self._idle.popleft().worker
        return self._asked_for(profile)

    def _asked_for(self, profile: str) -> RayWorker:
        avoided = self._cluster.avoided
        worker = ask_for(profile, self._terms, is_warm=False, avoided=avoided)
        with self._lock:
            self._asked.append(_Asked(worker, self._clock()))
        return worker

    def _await_one(self) -> None:
        """Those that came back are told apart by now, or in a moment."""
        self._hear(0.0)
        if not self.idle:
            self._hear(_PATIENCE_SECONDS)

    def _hear(self, timeout: float) -> None:
        """Puts among the idle what has come to rest, waiting up to timeout for the first."""
        with self._lock:
            resting = {each.answer: each for each in self._resting}
        if not resting:
            return
        for answer in arrived(list(resting), timeout):
            self._came_to_rest(resting[answer])

    def _came_to_rest(self, resting: _Resting) -> None:
        is_fit = _is_fit(resting.answer)
        with self._lock:
            if resting not in self._resting:
                return  # another thread was first
            self._resting.remove(resting)
            is_kept = is_fit and len(self._idle) < self._most
            if is_kept:
                self._losses = 0
                self._idle.appendleft(_Idle(resting.worker, self._clock()))
        if not is_kept:
            resting.worker.end(self._cluster)

    @property
    def _most(self) -> int:
        return max(self._count, self._cluster.cpus) if self._count else 0

    def _make_room(self) -> None:
        """An actor of another profile may need the CPU that an idle one holds."""
        with self._lock:
            idle = self._idle.pop() if self._idle and self._terms.cpus else None
            self._refill_time = self._clock() + _REFILL_SECONDS
        if idle:
            idle.worker.end(self._cluster)

    def give_back(self, worker: RayWorker) -> None:
        """Takes an actor back: it does what it was asked, then it forgets its job."""
        if worker.profile != self._profile or not self._most or self._is_closed:
            worker.end(self._cluster)
            return
        resting = _Resting(worker, worker.send(Rest()), self._clock() + _REST_SECONDS)
        with self._lock:
            self._resting.append(resting)

    def refill(self) -> None:
        """Has as many asked for as are missing."""
        with self._lock:
            self._refill_time = self._clock()

    def tend(self) -> None:
        """Hears those that rest, replaces what died, lets go of what nobody wants, refills."""
        self._hear(0.0)
        self._bury()
        self._let_go()
        self._leave()
        self._make_way()
        self._fill()

    def _bury(self) -> None:
        with self._lock:
            by_watch = {each.worker.watch: each for each in self._idle}
        if not by_watch:
            return
        ended = arrived(list(by_watch), 0)
        with self._lock:
            for watch in ended:
                if by_watch[watch] in self._idle:
                    self._idle.remove(by_watch[watch])
                    self._losses += 1
                    pause = min(0.5 * 2.0**self._losses, _REFILL_SECONDS)
                    self._refill_time = self._clock() + pause

    def _let_go(self) -> None:
        now = self._clock()
        with self._lock:
            late = [each.worker for each in self._resting if each.deadline <= now]
            self._resting = [each for each in self._resting if each.deadline > now]
            while len(self._idle) > self._count and self._idle[-1].since + _IDLE_SECONDS <= now:
                late.append(self._idle.pop().worker)
        for worker in late:
            worker.end(self._cluster)

    def _leave(self) -> None:
        """Idle actors on nodes that are avoided end."""
        avoided = self._cluster.avoided
        if not avoided:
            return
        with self._lock:
            idle = tuple(self._idle)
        # Where they are may have to be asked of Ray, which nobody waits for under the lock.
        there = [each for each in idle if (p := each.worker.place()) and p.node in avoided]
        with self._lock:
            leaving = [each for each in there if each in self._idle]
            for each in leaving:
                self._idle.remove(each)
        for each in leaving:
            each.worker.end(self._cluster)

    def _make_way(self) -> None:
        """Idle actors let go of CPUs that workers of jobs have been waiting for."""
        now = self._clock()
        with self._lock:
            asked = tuple(self._asked)
        waiting = [each for each in asked if each.worker.is_waiting]
        late = sum(each.since + _START_SECONDS <= now for each in waiting)
        short = late - self._cluster.room_for(self._terms.cpus) if late and self._terms.cpus else 0
        with self._lock:
            served = [each for each in asked if each not in waiting]
            self._asked = [each for each in self._asked if each not in served]
            if late and self._terms.cpus:
                self._refill_time = max(self._refill_time, now + _REFILL_SECONDS)
            released = [self._idle.pop() for _ in range(min(short, len(self._idle)))]
        for each in released:
            each.worker.end(self._cluster)

    def _fill(self) -> None:
        """Asks for what is missing, as far as there are CPUs that nobody holds."""
        missing = self._missing()
        for _ in range(min(missing, self._cluster.room_for(self._terms.cpus)) if missing else 0):
            avoided = self._cluster.avoided
            worker = ask_for(self._profile, self._terms, is_warm=True, avoided=avoided)
            with self._lock:
                is_kept = not self._is_closed
                if is_kept:
                    self._idle.append(_Idle(worker, self._clock()))
            if not is_kept:
                worker.end(self._cluster)

    def _missing(self) -> int:
        """How many are to be asked for now."""
        with self._lock:
            if self._clock() < self._refill_time or self._is_closed:
                return 0
            return max(self._count - len(self._idle) - len(self._resting), 0)

    def close(self) -> None:
        """Ends those that nobody took."""
        with self._lock:
            self._is_closed = True
            workers = [*(i.worker for i in self._idle), *(r.worker for r in self._resting)]
            self._idle.clear()
            self._resting.clear()
        for worker in workers:
            worker.end(self._cluster)


def _is_fit(answer: Reference) -> bool:
    """Whether an actor has answered that it forgot its job, and is not too large."""
    try:
        resident = decode(answer_of(answer)).facts["resident"]
    except (RayError, ValueError, KeyError, BadAnswer):
        return False
    return isinstance(resident, int) and resident <= _MOST_BYTES
