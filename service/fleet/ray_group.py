"""Workers as Ray actors in a placement group, on this machine or on a running cluster."""

import logging
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from gradloom.service.fleet.group import Gone, WorkerEvent, event_of
from gradloom.service.fleet.unreachable import first_line, unreachable
from gradloom.service.jobs.states import Reason
from gradloom.worker.actor import Actor
from gradloom.worker.engine.profile import PROFILES
from gradloom.worker.messages import BadAnswer, Order, Task, decode

# Ray's own types say nothing about an actor's methods, nor that a decorated class has options.
_Handle = Any
_ACTOR: Any = Actor
_Reference = ray.ObjectRef[bytes]

_GET_SECONDS = 10.0
_OBJECT_STORE_BYTES = 256 << 20
# Messages below this travel in the call itself and not through the object store: half the time a
# step (9.5 → 4.5 ms for 3 workers and 108 kB each, 2 cores).
_IN_THE_CALL = {"max_direct_call_object_size": 4 << 20}
# Ray counts CPUs in ten-thousandths.
_CPU_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class _Worker:
    actor: _Handle
    bundle: int


class RayGroup:
    """Workers of one job as actors, each in its own bundle of one placement group."""

    def __init__(self, name: str, workers: int, cpus_each: float, profile: str) -> None:
        self._cpus_each = cpus_each
        self._profile = profile
        self._room: PlacementGroup = placement_group(
            [{"CPU": cpus_each}] * workers, strategy="SPREAD", name=f"gradloom-{name}"
        )
        self._free = list(range(workers))
        self._workers: dict[int, _Worker] = {}
        self._pending: dict[_Reference, int] = {}

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """Asks Ray for an actor; see WorkerGroup."""
        bundle = self._free.pop(0)
        actor = _ACTOR.options(
            num_cpus=self._cpus_each,
            max_restarts=0,
            runtime_env={"env_vars": dict(PROFILES[self._profile])},
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                self._room, placement_group_bundle_index=bundle
            ),
        ).remote()
        self._workers[worker] = _Worker(actor, bundle)
        self._send(worker, (task, state))

    def order(self, worker: int, order: Order) -> None:
        """Sends an order; see WorkerGroup."""
        if worker in self._workers:
            self._send(worker, order)

    def _send(self, worker: int, message: object) -> None:
        pickled = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._pending[self._workers[worker].actor.answer.remote(pickled)] = worker

    def stop(self, worker: int) -> None:
        """Kills an actor and gives its bundle back."""
        gone = self._workers.pop(worker, None)
        if gone is None:
            return
        self._pending = {ref: number for ref, number in self._pending.items() if number != worker}
        ray.kill(gone.actor, no_restart=True)
        self._free.append(gone.bundle)

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        """Answers and deaths; see WorkerGroup."""
        if not self._pending:
            return ()
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=timeout)
        return tuple(self._event(ref, self._pending.pop(ref)) for ref in ready)

    def _event(self, reference: _Reference, worker: int) -> WorkerEvent:
        try:
            encoded = ray.get(reference, timeout=_GET_SECONDS)
            return event_of(worker, decode(encoded), encoded)
        except (RayError, GetTimeoutError) as error:
            return self._gone(worker, Reason.WORKER_LOST, first_line(error))
        except BadAnswer as error:
            return self._gone(worker, Reason.WORKER_ERROR, str(error))

    def _gone(self, worker: int, reason: Reason, why: str) -> Gone:
        self.stop(worker)
        return Gone(worker, reason, f"worker {worker}: {why}")

    def close(self) -> None:
        """Kills all actors and gives the room back to the cluster."""
        for worker in list(self._workers):
            self.stop(worker)
        remove_placement_group(self._room)


class RayFleet:
    """A Ray of our own on this machine, or a running one given by its address."""

    def __init__(self, address: str | None, cpus: int | None = None) -> None:
        """Starts Ray or connects to it. Raises Unavailable where that fails.

        Before this module is imported, ray_environment must have been prepared: Ray reads it once.
        """
        self.may_share = address is None
        try:
            self._connect(address, cpus)
        except (RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise unreachable(address, error) from error
        self.cpus = _cluster_cpus()

    def _connect(self, address: str | None, cpus: int | None) -> None:
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

    def group(
        self,
        name: str,
        workers: int,
        log_folder: Path,  # noqa: ARG002
        profile: str,
    ) -> RayGroup:
        """Room for a job's workers; Ray keeps their output in its own session folder."""
        share = min(_CPU_PARTS, self.cpus * _CPU_PARTS // workers) / _CPU_PARTS
        return RayGroup(name, workers, share, profile)

    def close(self) -> None:
        """Disconnects; a Ray of our own ends."""
        ray.shutdown()


def _cluster_cpus() -> int:
    # Ray leaves this one function without types.
    return max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
