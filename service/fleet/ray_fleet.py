"""Ray as the place where workers run: one of our own on this machine, or a running cluster."""

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

import ray
import structlog
from ray.exceptions import RayError

from gradloom.service.errors import Unavailable
from gradloom.service.fleet.actor_pool import ActorPool
from gradloom.service.fleet.departure import RAY, left_behind
from gradloom.service.fleet.ray_cluster import RAY_ERRORS, Cluster
from gradloom.service.fleet.ray_data import RayData
from gradloom.service.fleet.ray_group import RayGroup
from gradloom.service.fleet.ray_worker import Terms
from gradloom.service.fleet.unreachable import unreachable

log = structlog.get_logger()

_OBJECT_STORE_BYTES = 256 << 20
# Messages below this travel in the call itself and not through the object store: half the time a
# step (9.5 → 4.5 ms for 3 workers and 108 kB each, 2 cores).
_IN_THE_CALL = {"max_direct_call_object_size": 4 << 20}
_LOOK_SECONDS = 1.0
# A look at the cluster and after the pool takes as long at most where nothing answers.
_LEAVE_SECONDS = 5.0
_CPUS_EACH = 1.0


class RayFleet:
    """A Ray of our own on this machine, or a running one given by its address.

    Where the running one is lost and another takes its place it connects anew; where our own is
    lost it starts another.
    """

    def __init__(
        self,
        address: str | None,
        cpus: int | None = None,
        *,
        warm: int = 0,
        profile: str,
        reconnected: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts Ray or connects to it. Raises Unavailable where that fails.

        reconnected is called, in another thread, once it is connected to another Ray.

        Before this module is imported, ray_environment must have been prepared: Ray reads it once.
        """
        self.may_share = address is None
        self._address, self._cpus, self._warm, self._profile = address, cpus, warm, profile
        self._reconnected = reconnected
        self._groups: WeakSet[RayGroup] = WeakSet()
        self._lock = threading.Lock()
        self._open()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._tend, name=f"{RAY}fleet", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        """Connects, with all that lasts as long as the connection. Raises Unavailable."""
        address = self._address
        try:
            _connect(address, self._cpus)
            where = f"Ray head {address}" if address else "Ray on this machine"
            cluster = Cluster(
                where, lambda: datetime.now(UTC), time.monotonic, is_own=address is None
            )
            self._data = RayData(is_cluster=address is not None)
        except (RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise unreachable(address, error) from error
        # On a Ray of our own nobody else asks for CPUs, and the floor counts them: its workers ask
        # for none, so that more of them than CPUs can share these.
        terms = Terms(_CPUS_EACH, None) if address else Terms(0.0, "127.0.0.1")
        self._pool = ActorPool(self._warm, self._profile, cluster, terms, time.monotonic)
        self._cluster = cluster

    @property
    def cpus(self) -> int:
        """CPUs of the nodes that live; of those that are avoided what workers hold there."""
        return self._cluster.cpus

    @property
    def trouble(self) -> str:
        """Since when the head has not answered, if it does not."""
        return self._cluster.trouble

    @property
    def nodes(self) -> frozenset[str]:
        """Names of the nodes that live."""
        return frozenset(node.name for node in self._cluster.nodes)

    def avoid(self, nodes: frozenset[str]) -> None:
        """Asks for new actors elsewhere, and does not count the CPUs that are free there.

        Where no other node lives they are used nevertheless.
        """
        self._cluster.avoid(nodes if self.nodes - nodes else frozenset())

    def lacks(self, workers: int) -> str:
        """The CPUs that are free, where they and those of idle actors are too few."""
        if self.may_share:
            return ""
        room = self._cluster.room_for(_CPUS_EACH) + len(self._pool.idle)
        return "" if room >= workers else self._cluster.capacity(workers)

    def _tend(self) -> None:
        """Looks at the cluster and after the pool, each second until close."""
        while not self._closing.is_set():
            before = self.trouble
            self._look_after_pool()
            self._closing.wait(_LOOK_SECONDS)
            self._cluster.look()
            if self._cluster.is_over and not self._closing.is_set():
                self._move_over()
            if self.trouble != before:
                log.warning("ray_unreachable" if self.trouble else "ray_reached", why=self.trouble)

    def _look_after_pool(self) -> None:
        if self.trouble:
            return
        try:
            self._pool.tend()
        except RAY_ERRORS as error:
            self._cluster.failed(error)

    def _move_over(self) -> None:
        """Connects anew, or starts anew, once the groups have let go of what was."""
        with self._lock:
            groups = tuple(self._groups)
        if any(group.is_at_work for group in groups):
            return
        self._pool.close()
        ray.shutdown()
        try:
            self._open()
        except Unavailable as error:
            log.warning("ray_not_back", error=str(error))
        else:
            self._reconnected()

    def group(
        self,
        name: str,  # noqa: ARG002
        workers: int,  # noqa: ARG002
        log_folder: Path,  # noqa: ARG002
        profile: str,
    ) -> RayGroup:
        """Workers of one job; Ray keeps their output in its own session folder."""
        group = RayGroup(profile, self._pool, self._cluster, self._data)
        with self._lock:
            self._groups.add(group)
        return group

    def close(self) -> None:
        """Disconnects; a Ray of our own ends.

        Where a thread could not be waited for, both come with the end of the process; see leave.
        """
        self._closing.set()
        self._thread.join(_LEAVE_SECONDS)
        self._pool.close()
        if left := left_behind():
            log.warning("ray_not_left", threads=left)
        else:
            ray.shutdown()


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
