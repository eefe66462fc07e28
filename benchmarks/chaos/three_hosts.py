"""A service on three hosts: hosts lose their power, or their cables, and come back."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from benchmarks.chaos.generator import Fault, Kind
from benchmarks.chaos.nemesis import After, Strike, chosen
from benchmarks.chaos.ray_cluster import LEFT, parsed
from benchmarks.hosts.cluster import RayCluster, ray_cluster
from benchmarks.hosts.faults import cut, one_way_cut
from benchmarks.hosts.network import Host, Network, network
from benchmarks.hosts.tools import CannotUse
from gradloom.service.jobs.job import Assignment

_CPUS_EACH = 3
# Of all three.
CPUS = 3 * _CPUS_EACH
_BOOTS = 20
_AGAIN_SECONDS = 1.0
_SEGMENTS = "ls /dev/shm | grep ^gradloom || true"


class ThreeHosts:
    """The hosts but for the head, each well or in trouble."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster = cluster
        self._in_trouble: set[str] = set()

    @property
    def network(self) -> Network:
        """The hosts and what joins them."""
        return self.cluster.network

    @property
    def strikes(self) -> Mapping[Kind, Strike]:
        """What can be done to them."""
        return {Kind.KILL_NODE: self._kill_node, Kind.CUT_NETWORK: self._cut_network}

    def process_id(self, assignment: Assignment) -> int:
        """The number that a worker's process has for us; 0 where it is not there."""
        for host in self.network.hosts:
            if assignment.node.startswith(host.name):
                return host.processes().get(assignment.pid, 0)
        return 0

    def left(self) -> tuple[str, ...]:
        """Actors, placement groups and segments."""
        head, address = self.cluster.head, self.cluster.address
        asked = head.run(sys.executable, "-c", LEFT, address, env=self.cluster.environment)
        segments = [
            f"segment {name} on {host.name}"
            for host in self.network.hosts
            if host.is_on
            for name in host.run("sh", "-c", _SEGMENTS).split()
        ]
        return (*parsed(asked), *segments)

    def _well(self) -> list[Host]:
        return [host for host in self.network.hosts[1:] if host.name not in self._in_trouble]

    def _kill_node(self, fault: Fault, after: After) -> str:
        host = chosen(self._well(), fault.pick)
        if host is None:
            return ""
        self._in_trouble.add(host.name)
        self.network.power_off(host)
        seconds = 1.0 + 6.0 * fault.size
        after(seconds, lambda: self._boot(host))
        return f"{host.name} without power for {seconds:.1f} s"

    def _boot(self, host: Host) -> None:
        """Takes seconds, for which other faults do not wait."""
        threading.Thread(target=self._boot_and_join, args=(host,), daemon=True).start()

    def _boot_and_join(self, host: Host) -> None:
        for _ in range(_BOOTS):
            try:
                self.network.power_on(host)
                self.cluster.join(host)
            except CannotUse:  # the kernel takes its time over what a host leaves behind
                host.halt()
                time.sleep(_AGAIN_SECONDS)
            else:
                self._in_trouble.discard(host.name)
                return

    def _cut_network(self, fault: Fault, after: After) -> str:
        host = chosen(self._well(), fault.pick)
        if host is None:
            return ""
        self._in_trouble.add(host.name)
        is_one_way = fault.size * 7 % 1 < 0.4
        trouble = ExitStack()
        trouble.enter_context(
            one_way_cut(host, self.cluster.head) if is_one_way else cut(self.network, host)
        )
        seconds = 0.3 + 8.0 * fault.size
        after(seconds, lambda: self._heal(host, trouble))
        return f"{host.name} {'towards the head ' if is_one_way else ''}for {seconds:.1f} s"

    def _heal(self, host: Host, trouble: ExitStack) -> None:
        trouble.close()
        self._in_trouble.discard(host.name)


@contextmanager
def three_hosts() -> Iterator[ThreeHosts]:
    """Hosts with a Ray across them; all of it ends afterwards."""
    with network() as hosts, ray_cluster(hosts, _CPUS_EACH) as cluster:
        yield ThreeHosts(cluster)
