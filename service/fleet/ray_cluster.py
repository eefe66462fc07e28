"""The cluster as the service knows it: its nodes and CPUs now, or since when it cannot be asked."""

import math
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import ray
import structlog

# Ray leaves these two without types.
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]
from ray.exceptions import AuthenticationError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gradloom.service.errors import Unavailable
from gradloom.service.fleet.unreachable import first_line
from gradloom.service.jobs.states import Reason
from gradloom.service.wording import plural
from gradloom.worker.fence import StillAlive, fence
from gradloom.worker.warden import PATIENCE_SECONDS, Warden, end_of

log = structlog.get_logger()

# Ray's own types say nothing about an actor's methods, nor that a decorated class has options.
_Handle = Any
_WARDEN: Any = Warden

# What calls to Ray raise; an OSError where the Ray of this host, the other end of a pipe, is gone.
RAY_ERRORS = (RayError, OSError)

# How long the head may leave a question open before it counts as unreachable.
_SILENCE_SECONDS = 5.0
# One of our own that is silent for so long is dead, as no network lies between: another is started.
_OWN_SILENCE_SECONDS = 15.0
_ANSWER_SECONDS = 2.0
# A warden's answer takes milliseconds, and it is started long before it is asked. Beyond a cut
# nobody answers; what lives there shares no memory with those who go on, so they need not wait.
_END_SECONDS = 0.5
_TAIL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node that lives: its host's name, its address, CPUs, and those that nobody holds."""

    id: str
    host: str
    address: str
    cpus: float
    free: float = 0.0

    @property
    def name(self) -> str:
        """A name that no other node has, by which people find it."""
        return f"{self.host}-{self.address}-{self.id[:6]}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker is: its node, its process, and the file that its errors go to."""

    node: str
    address: str
    pid: int
    log: str


class Cluster:
    """What was last heard of the nodes. look is for one thread, all else for any."""

    def __init__(
        self,
        where: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        *,
        is_own: bool = False,
    ) -> None:
        """where is what people call the cluster's head; is_own is that this process started it."""
        self._where = where
        self._is_own = is_own
        self._now = now
        self._monotonic = monotonic
        context = ray.get_runtime_context()
        self._own_node: str = context.get_node_id()
        self._head: str = context.gcs_address
        self._gcs: Any = None
        self._nodes: dict[str, Node] = {}
        self._avoided: frozenset[str] = frozenset()
        self._wardens: dict[str, _Handle] = {}
        self._lock = threading.Lock()
        self._is_member = True
        self._failure_time = -math.inf
        self._is_replaced = False
        self._heed(self._told())

    def look(self) -> None:
        """Asks the head for its nodes, for seconds at most; what it does not tell is trouble."""
        try:
            self._heed(self._told())
        except AuthenticationError:
            self._gcs = None  # another cluster answers, which the next look asks as a stranger
        except RayError:
            pass  # it is silent

    def _told(self) -> dict[str, Node]:
        """The nodes that live. Raises RayError.

        ray.nodes() would end this process where another cluster answers at the head's address, as
        it does once the head was started anew: a check in Ray's global_state_accessor.h.
        """
        self._gcs = self._gcs or GcsClient(address=self._head)
        told = self._gcs.get_all_node_info(timeout=_ANSWER_SECONDS)
        usage = self._gcs.get_all_resource_usage(timeout=_ANSWER_SECONDS).resource_usage_data
        free = {each.node_id: each.resources_available.get("CPU", 0.0) for each in usage.batch}
        alive = ((id_, each) for id_, each in told.items() if each.state == GcsNodeInfo.ALIVE)
        return {
            id_.hex(): _node(id_.hex(), each, free.get(id_.binary(), 0.0)) for id_, each in alive
        }

    def _heed(self, nodes: dict[str, Node]) -> None:
        """Takes note of the nodes that live, if this process's own is still one of them."""
        self._is_member = self._own_node in nodes
        if not self._is_member:
            own = self._nodes.get(self._own_node)
            self._is_replaced = any(own and node.address == own.address for node in nodes.values())
            return
        self._nodes = nodes
        self._heard, self._heard_time = self._monotonic(), self._now()
        with self._lock:
            self._wardens = {n: w for n, w in self._wardens.items() if n in nodes}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Nodes that lived when the head last answered."""
        return tuple(self._nodes.values())

    @property
    def cpus(self) -> int:
        """CPUs that workers have or may get; see cpus_for_workers."""
        return cpus_for_workers(self.nodes, self._avoided)

    @property
    def _usable(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.name not in self._avoided)

    def avoid(self, names: frozenset[str]) -> None:
        """Has no new actors placed on nodes of these names."""
        self._avoided = names

    @property
    def avoided(self) -> tuple[str, ...]:
        """The ids of nodes that get no new actors."""
        return tuple(node.id for node in self.nodes if node.name in self._avoided)

    @property
    def is_over(self) -> bool:
        """Whether this connection will not come back: another Ray took over, or our own is dead."""
        if not self._is_own:
            return self._is_replaced
        is_silent = self._monotonic() - self._heard >= _OWN_SILENCE_SECONDS
        return is_silent or not self._is_member

    @property
    def trouble(self) -> str:
        """Why nothing can be started at present."""
        since = f"since {self._heard_time:%H:%M:%S} UTC, retrying"
        if not self._is_member and self._is_own:
            return f"{self._where} has been gone {since}"
        if not self._is_member:
            return f"{self._where} has lost the Ray of this host {since}"
        now = self._monotonic()
        if now - self._heard < _SILENCE_SECONDS <= now - self._failure_time:
            return ""
        return f"{self._where} unreachable {since}"

    def failed(self, error: Exception) -> Unavailable:
        """What to raise where Ray itself cannot do what it is asked: trouble for a while."""
        log.warning("ray_failed", error=first_line(error))
        self._failure_time = self._monotonic()
        return self.unavailable()

    def unavailable(self) -> Unavailable:
        """The trouble as an error."""
        return Unavailable(self.trouble, reason=Reason.RAY_UNREACHABLE)

    def room_for(self, cpus: float) -> int:
        """How many workers that ask for so many CPUs each could be placed at once."""
        if not cpus:
            return self.cpus
        return sum(int(node.free // cpus) for node in self._usable)

    def capacity(self, workers: int) -> str:
        """What so many workers need, and the CPUs that nobody holds, as people read them."""
        free = ", ".join(
            f"{node.free:.0f} on {node.name}" for node in self._usable if node.free >= 1
        )
        return f"needs {plural(workers, 'worker')} × 1 CPU, free: {free or 'none'}"

    def lives(self, node: str) -> bool:
        """Whether a node lived when the head last answered."""
        return node in self._nodes

    def name_of(self, node: str) -> str:
        """What people call a node."""
        return self._nodes[node].name if node in self._nodes else node[:6]

    def end(self, place: Place) -> bool:
        """Kills a worker's process and waits for its end; whether it is known to have ended."""
        if place.node == self._own_node:
            return _ended_here(place.pid)
        return not self.lives(place.node) or bool(
            self._asked(place.node, _END_SECONDS, False, lambda w: w.end.remote(place.pid))
        )

    def tail(self, place: Place) -> str:
        """The end of a worker's log; empty where it cannot be read in time."""
        if place.node == self._own_node:
            return end_of(Path(place.log))
        if not self.lives(place.node):
            return ""
        return str(self._asked(place.node, _TAIL_SECONDS, "", lambda w: w.tail.remote(place.log)))

    def expect(self, node: str) -> None:
        """Has a warden started on a node where workers are, so that it is there when needed."""
        if node != self._own_node:
            self._warden(node)

    def _asked(
        self, node: str, seconds: float, otherwise: object, ask: Callable[[_Handle], _Handle]
    ) -> object:
        try:
            return ray.get(ask(self._warden(node)), timeout=seconds)
        except RAY_ERRORS:
            with self._lock:
                self._wardens.pop(node, None)
            return otherwise

    def _warden(self, node: str) -> _Handle:
        with self._lock:
            if node not in self._wardens:
                there = NodeAffinitySchedulingStrategy(node, soft=False)
                self._wardens[node] = _WARDEN.options(scheduling_strategy=there).remote()
            return self._wardens[node]


def cpus_for_workers(nodes: Iterable[Node], avoided: Collection[str]) -> int:
    """CPUs of all nodes together; of one that is avoided those alone that somebody holds.

    Who works there still has one of its own, and takes none from who is to work elsewhere.
    """
    each = (node.cpus - node.free if node.name in avoided else node.cpus for node in nodes)
    return max(1, int(sum(each)))


def _node(id_: str, told: Any, free: float) -> Node:
    """A node in the words of Ray's own table."""
    return Node(
        id_,
        told.node_manager_hostname,
        told.node_manager_address,
        told.resources_total.get("CPU", 0.0),
        free,
    )


def _ended_here(pid: int) -> bool:
    """Ends a worker on this node, if it is one: its number may mean another process by now."""
    try:
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            fence((pid,), patience=PATIENCE_SECONDS)
    except (FileNotFoundError, ProcessLookupError):
        return True
    except (StillAlive, PermissionError):
        return False
    return True
