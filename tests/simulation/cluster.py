"""The simulated cluster: nodes, processes, their meetings, and the faults that strike them."""

from dataclasses import dataclass
from itertools import count

from gradloom.worker.messages import Formation
from tests.simulation.chance import Chance
from tests.simulation.clock import Clock
from tests.simulation.meeting import Meeting
from tests.simulation.network import SERVICE, UNREACHABLE_AFTER, Network
from tests.simulation.process import Process

# A process that was told nothing for so long has lost its service, and exits.
ORPHANED_AFTER = 5.0
FOR_GOOD = 1e5


@dataclass(slots=True)
class Node:
    """A machine; lost until a time, with or without room for shared memory."""

    name: str
    has_room: bool = True
    lost_until: float = 0.0


class Cluster:
    """All processes that ever were."""

    def __init__(
        self, clock: Clock, chance: Chance, network: Network, nodes: tuple[Node, ...]
    ) -> None:
        self.clock = clock
        self.chance = chance
        self.network = network
        self.nodes = {node.name: node for node in nodes}
        self.processes: dict[int, Process] = {}
        self.told: list[str] = []
        self.strikes_left = 0
        # Seconds for which those freeze who are the next to store something.
        self.stores_struck: list[float] = []
        self.service_is_dead = False
        self.deaths = 0
        self.avoided: frozenset[str] = frozenset()
        self._pids = count(100)
        self._meetings: dict[tuple[str, bytes, int], Meeting] = {}
        self._homes: dict[tuple[str, bytes, int], int] = {}

    def tell(self, what: str) -> None:
        """Takes note of something that happened, for who looks at a run that failed."""
        self.told.append(f"{self.clock.time:10.4f}  {what}")

    def living_nodes(self) -> list[str]:
        """Nodes that processes can be started on."""
        return [n.name for n in self.nodes.values() if n.lost_until <= self.clock.time]

    def spawn(self, node: str) -> Process:
        """A new process."""
        process = Process(self.clock, node, next(self._pids))
        self.processes[process.pid] = process
        return process

    def living(self) -> list[Process]:
        """Processes that have not ended."""
        return [process for process in self.processes.values() if process.is_alive]

    def has_room(self, node: str) -> bool:
        """Whether memory can be shared on a node."""
        return self.nodes[node].has_room

    def meeting(self, formation: Formation) -> Meeting:
        """Where the members of a formation meet."""
        key = (formation.segment, formation.key, formation.number)
        if key not in self._meetings:
            homes = {member.worker: member.pid for member in formation.members}
            self._meetings[key] = Meeting(
                formation,
                self.clock,
                self.network,
                self.chance,
                self.may_strike,
                lambda worker: self.processes.get(homes[worker]),
            )
        return self._meetings[key]

    # Faults.

    def strikes(self, process: Process, point: str) -> bool:
        """Kills or freezes a process at a point of its program, where it is time to."""
        if self.stores_struck and point == "worker.slice.update" and self.chance.random() < 0.05:
            process.is_stuck = True
            self.freeze(process, self.stores_struck.pop(), f"at {point} and cannot be killed")
            return True
        if not self.may_strike(point):
            return False
        if self.chance.random() < 0.5:
            self.kill(process, f"at {point}")
        else:
            self.freeze(process, self.chance.between(0.05, 40.0), f"at {point}")
        return True

    def may_strike(self, point: str, share: float = 0.05) -> bool:
        """Whether it is time for one more of the blows that a run is dealt."""
        if self.strikes_left <= 0 or not self.chance.fires(point, share):
            return False
        self.strikes_left -= 1
        self.deaths += 1
        return True

    def kill(self, process: Process, why: str = "") -> None:
        """Ends a process by a fault."""
        if process.is_alive:
            self.deaths += 1
            self.tell(f"{process.node} pid {process.pid} is killed {why}")
            process.kill()

    def freeze(self, process: Process, seconds: float, why: str = "") -> None:
        """Stops a process for a while."""
        if process.is_alive and not process.is_frozen:
            if not process.is_stuck and self.chance.fires("freezes for good"):
                seconds = FOR_GOOD
            self.deaths += 1
            self.tell(f"{process.node} pid {process.pid} freezes for {seconds:.2f} s {why}")
            process.freeze(seconds)

    def fence(self, node: str, pid: int) -> None:
        """Ends a process of this very node, as a worker does that waits for its end."""
        process = self.processes.get(pid)
        if process and process.node == node:
            process.kill()

    def cut(self, one: str, other: str, seconds: float) -> None:
        """Cuts the network in one direction."""
        self.deaths += 1
        self.tell(f"the way from {one} to {other} is cut for {seconds:.2f} s")
        self.network.cut(one, other, seconds)
        if seconds >= UNREACHABLE_AFTER:
            for meeting in list(self._meetings.values()):
                meeting.cut(one, other)

    def lose(self, name: str, seconds: float) -> None:
        """A node vanishes with its processes and says nothing; it is back after a while."""
        self.tell(f"{name} is lost for {seconds:.2f} s")
        node = self.nodes[name]
        node.lost_until = self.clock.time + seconds
        for other in (*self.nodes, SERVICE):
            if other != name:
                self.network.cut(name, other, seconds)
                self.network.cut(other, name, seconds)
        for process in self.living():
            if process.node == name:
                self.deaths += 1
                process.kill()
