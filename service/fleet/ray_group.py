"""Workers as Ray actors, on this machine or on a running cluster."""

import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import ray
from ray.exceptions import RayError

from gradloom.service.errors import Unavailable
from gradloom.service.fleet.actor_pool import ActorPool
from gradloom.service.fleet.ending import last_lines
from gradloom.service.fleet.group import Gone, Ready, WorkerEvent, event_of
from gradloom.service.fleet.ray_cluster import Cluster
from gradloom.service.fleet.ray_worker import (
    RayWorker,
    Reference,
    Terms,
    answer_of,
    arrived,
    told_by,
)
from gradloom.service.jobs.states import Reason
from gradloom.worker.messages import Answer, BadAnswer, Order, Task, decode

_OBJECT_STORE_BYTES = 256 << 20
# Messages below this travel in the call itself and not through the object store: half the time a
# step (9.5 → 4.5 ms for 3 workers and 108 kB each, 2 cores).
_IN_THE_CALL = {"max_direct_call_object_size": 4 << 20}
_LOOK_SECONDS = 1.0
# A little less than the coordinator gives a worker to be ready.
_PLACE_SECONDS = 55.0


@dataclass(slots=True)
class _Lent:
    """An actor that this group has; deadline is until when it has to be somewhere, if it is not."""

    worker: RayWorker
    deadline: float
    node: str = ""
    is_ready: bool = False


class RayGroup:
    """Workers of one job as actors; each asks for its own CPU."""

    def __init__(self, profile: str, pool: ActorPool, cluster: Cluster) -> None:
        self._profile = profile
        self._pool = pool
        self._cluster = cluster
        self._workers: dict[int, _Lent] = {}
        self._pending: dict[Reference, int] = {}
        self._lost: list[Gone] = []

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """Takes an actor of the pool, or asks Ray for one; see WorkerGroup."""
        actor = self._pool.take(self._profile)
        self._workers[worker] = _Lent(actor, time.monotonic() + _PLACE_SECONDS)
        self._pending[actor.watch] = worker
        self._send(worker, (task, state))

    def order(self, worker: int, order: Order) -> None:
        """Sends an order; see WorkerGroup."""
        if worker in self._workers:
            self._send(worker, order)

    def _send(self, worker: int, message: object) -> None:
        try:
            self._pending[self._workers[worker].worker.send(message)] = worker
        except RayError as error:
            self._lost.append(self._gone(worker, error))

    def stop(self, worker: int) -> bool:
        """Kills an actor and waits for its end; see WorkerGroup."""
        self._lost = [gone for gone in self._lost if gone.worker != worker]
        lent = self._forgotten(worker)
        return lent is None or lent.worker.end(self._cluster)

    def _forgotten(self, worker: int) -> _Lent | None:
        self._pending = {ref: number for ref, number in self._pending.items() if number != worker}
        return self._workers.pop(worker, None)

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        """Answers and deaths; see WorkerGroup."""
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
        match event_of(worker, answer, encoded):
            case Ready(answer=answer):
                return Ready(worker, self._placed(worker, answer))
            case Gone() as gone:
                return self._given_up(gone)
            case event:
                return event

    def _placed(self, worker: int, answer: Answer) -> Answer:
        """What a worker says of itself, with the name of its node that no other has."""
        lent = self._workers[worker]
        lent.is_ready = True
        if place := lent.worker.placed:
            lent.node = self._cluster.name_of(place.node)
            self._cluster.expect(place.node)
        return replace(answer, facts={**answer.facts, "node": lent.node})

    def _given_up(self, gone: Gone) -> Gone:
        """The worker ends; what is told of it has the end of its log."""
        lent = self._forgotten(gone.worker)
        if lent is None:
            return gone
        place = lent.worker.placed
        log = last_lines(self._cluster.tail(place)) if place else ()
        lent.worker.end(self._cluster)
        return replace(gone, log=log, node=lent.node)

    def _gone(self, worker: int, error: Exception) -> Gone:
        lent = self._workers[worker]
        place = lent.worker.placed
        lives = place is None or self._cluster.lives(place.node)
        reason, message = told_by(
            error, worker, lent.node, node_lives=lives, was_ready=lent.is_ready
        )
        return self._given_up(Gone(worker, reason, message))

    def _late(self) -> list[int]:
        """Workers for which Ray found no place, though they were asked for long ago."""
        now = time.monotonic()
        overdue = (w for w, lent in self._workers.items() if lent.deadline <= now)
        return [w for w in overdue if self._workers[w].worker.placed is None]

    def _unplaced(self, worker: int) -> Gone:
        message = f"worker {worker} found no place: {self._cluster.capacity}"
        return self._given_up(Gone(worker, Reason.INSUFFICIENT_CAPACITY, message))

    def close(self) -> None:
        """Gives actors that were ready back to the pool, and ends the others."""
        for worker, lent in list(self._workers.items()):
            if lent.is_ready:
                self._forgotten(worker)
                self._pool.give_back(lent.worker)
            else:
                self.stop(worker)
        self._pool.refill()


class RayFleet:
    """A Ray of our own on this machine, or a running one given by its address."""

    def __init__(
        self, address: str | None, cpus: int | None = None, *, warm: int = 0, profile: str
    ) -> None:
        """Starts Ray or connects to it. Raises Unavailable where that fails.

        Before this module is imported, ray_environment must have been prepared: Ray reads it once.
        """
        self.may_share = address is None
        try:
            _connect(address, cpus)
        except (RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise _unreachable(address, error) from error
        where = f"Ray head {address}" if address else "Ray on this machine"
        self._cluster = Cluster(where, lambda: datetime.now(UTC), time.monotonic)
        # On a Ray of our own nobody else asks for CPUs, and the floor counts them: its workers ask
        # for none, so that more of them than CPUs can share these.
        terms = Terms(1.0, None) if address else Terms(0.0, "127.0.0.1")
        self._pool = ActorPool(warm, profile, self._cluster, terms, time.monotonic)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="ray fleet", daemon=True)
        self._thread.start()

    @property
    def cpus(self) -> int:
        """CPUs of the nodes that live."""
        return self._cluster.cpus

    @property
    def trouble(self) -> str:
        """Since when the head has not answered, if it does not."""
        return self._cluster.trouble

    def _tend(self) -> None:
        """Looks at the cluster and after the pool, each second until close."""
        while not self._closing.is_set():
            self._pool.tend()
            self._closing.wait(_LOOK_SECONDS)
            self._cluster.look()

    def group(
        self,
        name: str,  # noqa: ARG002
        workers: int,  # noqa: ARG002
        log_folder: Path,  # noqa: ARG002
        profile: str,
    ) -> RayGroup:
        """Workers of one job; Ray keeps their output in its own session folder."""
        return RayGroup(profile, self._pool, self._cluster)

    def close(self) -> None:
        """Disconnects; a Ray of our own ends."""
        self._closing.set()
        self._pool.close()
        ray.shutdown()
        self._thread.join(_LOOK_SECONDS)


def _connect(address: str | None, cpus: int | None) -> None:
    ray.init(
        address=address or "local",
        include_dashboard=None if address else False,
        num_cpus=None if address else cpus or len(os.sched_getaffinity(0)),
        object_store_memory=None if address else _OBJECT_STORE_BYTES,
        _system_config=None if address else _IN_THE_CALL,
        logging_level=logging.ERROR,
        log_to_driver=False,
        namespace="gradloom",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _unreachable(address: str | None, error: Exception) -> Unavailable:
    where = f"Ray at {address} cannot be reached" if address else "Ray could not be started here"
    if "token" in str(error).lower():
        why = "it asks for a token: set RAY_AUTH_TOKEN_PATH to the file that holds the cluster's"
    else:
        why = _first_line(error)
    return Unavailable(
        f"{where}: {why}.", reason="RAY_UNREACHABLE", metadata={"address": str(address)}
    )
