"""The workers of one job as Ray actors."""

import time
from dataclasses import dataclass, replace

from ray.exceptions import RayError

from gradloom.service.fleet.actor_pool import ActorPool
from gradloom.service.fleet.ending import last_lines
from gradloom.service.fleet.group import Alive, Gone, Ready, WorkerEvent, event_of
from gradloom.service.fleet.ray_cluster import RAY_ERRORS, Cluster
from gradloom.service.fleet.ray_data import RayData
from gradloom.service.fleet.ray_worker import (
    RayWorker,
    Reference,
    answer_of,
    arrived,
    told_by,
)
from gradloom.service.jobs.states import Reason
from gradloom.worker.messages import Answer, AnswerKind, BadAnswer, Order, Task, decode

# A little less than the coordinator gives a worker to be ready.
_PLACE_SECONDS = 55.0


@dataclass(slots=True)
class _Lent:
    """An actor that this group has; deadline is until when it has to be somewhere, if it is not.

    It owes so many answers, and while it does it is asked for beats, one after the other.
    """

    worker: RayWorker
    deadline: float
    node: str = ""
    is_ready: bool = False
    owes: int = 0
    is_to_beat: bool = False


class RayGroup:
    """Workers of one job as actors; each asks for its own CPU."""

    def __init__(self, profile: str, pool: ActorPool, cluster: Cluster, data: RayData) -> None:
        self._profile = profile
        self._pool = pool
        self._cluster = cluster
        self._data = data
        self._workers: dict[int, _Lent] = {}
        self._pending: dict[Reference, int] = {}
        self._lost: list[Gone] = []
        self._is_open = True

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """Takes an actor of the pool, or asks Ray for one; see WorkerGroup.

        Raises Unavailable where a first one cannot be had now: who trains already goes on.
        """
        if self._cluster.trouble and not self._workers:
            raise self._cluster.unavailable()
        try:
            actor = self._pool.take(self._profile)
        except RAY_ERRORS as error:
            raise self._cluster.failed(error) from error
        self._workers[worker] = _Lent(actor, time.monotonic() + _PLACE_SECONDS)
        self._pending[actor.watch] = worker
        self._send(worker, (self._data.told(task), state))

    @property
    def is_at_work(self) -> bool:
        """Whether its thread may call Ray: until it is closed."""
        return self._is_open

    def order(self, worker: int, order: Order) -> None:
        """Sends an order; see WorkerGroup."""
        if worker in self._workers:
            self._send(worker, order)

    def _send(self, worker: int, message: object) -> None:
        lent = self._workers[worker]
        try:
            self._pending[lent.worker.send(message)] = worker
            lent.owes += 1
            self._ask_for_a_beat(worker, lent)
        except RAY_ERRORS as error:
            self._lost.append(self._gone(worker, error))

    def _ask_for_a_beat(self, worker: int, lent: _Lent) -> None:
        if lent.owes and not lent.is_to_beat:
            self._pending[lent.worker.beat()] = worker
            lent.is_to_beat = True

    def stop(self, worker: int) -> bool:
        """Kills an actor and waits for its end; see WorkerGroup."""
        self._lost = [gone for gone in self._lost if gone.worker != worker]
        lent = self._forgotten(worker)
        return lent is None or lent.worker.end(self._cluster)

    def _forgotten(self, worker: int) -> _Lent | None:
        self._pending = {ref: number for ref, number in self._pending.items() if number != worker}
        return self._workers.pop(worker, None)

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        """Answers and deaths; see WorkerGroup. Raises Unavailable when Ray itself is lost."""
        if self._cluster.is_over:
            raise self._cluster.unavailable()
        try:
            return self._polled(timeout)
        except RAY_ERRORS as error:
            raise self._cluster.failed(error) from error

    def _polled(self, timeout: float) -> tuple[WorkerEvent, ...]:
        self._lost += [self._unplaced(worker) for worker in self._late()]
        if self._lost:
            lost, self._lost = tuple(self._lost), []
            return lost
        if not self._pending:
            time.sleep(timeout)
            return ()
        ready = arrived(list(self._pending), timeout)
        return tuple(event for reference in ready for event in self._heard(reference))

    def _heard(self, reference: Reference) -> tuple[WorkerEvent, ...]:
        worker = self._pending.pop(reference, None)
        return () if worker is None else (self._event(reference, worker),)

    def _event(self, reference: Reference, worker: int) -> WorkerEvent:
        try:
            encoded = answer_of(reference)
            answer = decode(encoded)
        except RayError as error:
            return self._gone(worker, error)
        except BadAnswer as error:
            return self._given_up(Gone(worker, Reason.WORKER_ERROR, str(error)))
        lent = self._workers[worker]
        lent.owes -= answer.kind is not AnswerKind.BEAT
        match event_of(worker, answer, encoded):
            case Alive() as alive:
                return self._asked_again(alive, lent)
            case Ready(answer=answer):
                return Ready(worker, self._placed(worker, answer), lent.worker.is_warm)
            case Gone() as gone:
                return self._given_up(gone)
            case event:
                return event

    def _asked_again(self, alive: Alive, lent: _Lent) -> WorkerEvent:
        lent.is_to_beat = False
        try:
            self._ask_for_a_beat(alive.worker, lent)
        except RAY_ERRORS as error:
            return self._gone(alive.worker, error)
        return alive

    def _placed(self, worker: int, answer: Answer) -> Answer:
        """What a worker says of itself, with the name of its node that no other has."""
        lent = self._workers[worker]
        lent.is_ready = True
        if place := lent.worker.place():
            lent.node = self._cluster.name_of(place.node)
            self._cluster.expect(place.node)
        return replace(answer, facts={**answer.facts, "node": lent.node})

    def _given_up(self, gone: Gone) -> Gone:
        """The worker ends; what is told of it has the end of its log."""
        lent = self._forgotten(gone.worker)
        if lent is None:
            return gone
        place = lent.worker.place()
        log = last_lines(self._cluster.tail(place)) if place else ()
        lent.worker.end(self._cluster)
        return replace(gone, log=log, node=lent.node)

    def _gone(self, worker: int, error: Exception) -> Gone:
        lent = self._workers[worker]
        place = lent.worker.place()
        lives = place is None or self._cluster.lives(place.node)
        reason, message = told_by(
            error, worker, lent.node, node_lives=lives, was_ready=lent.is_ready
        )
        return self._given_up(Gone(worker, reason, message))

    def _late(self) -> list[int]:
        """Workers for which Ray found no place, though they were asked for long ago."""
        now = time.monotonic()
        overdue = (w for w, lent in self._workers.items() if lent.deadline <= now)
        return [w for w in overdue if self._workers[w].worker.place() is None]

    def _unplaced(self, worker: int) -> Gone:
        if trouble := self._cluster.trouble:
            return self._given_up(Gone(worker, Reason.RAY_UNREACHABLE, trouble))
        wanted = self._cluster.capacity(len(self._workers))
        message = f"worker {worker} found no place: {wanted}"
        return self._given_up(Gone(worker, Reason.INSUFFICIENT_CAPACITY, message))

    def close(self) -> None:
        """Gives actors that were ready back to the pool, and ends the others; in trouble all."""
        try:
            for worker, lent in list(self._workers.items()):
                if lent.is_ready and not self._cluster.trouble:
                    self._forgotten(worker)
                    self._pool.give_back(lent.worker)
                else:
                    self.stop(worker)
            self._pool.refill()
        finally:
            self._is_open = False
