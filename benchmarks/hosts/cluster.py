"""A Ray across hosts: a head on the first, nodes on the others, and a token all have to show."""

import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hosts.network import Host, Network

_PORT = 6379
_RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats")
_RAYS_OWN = (b"/gcs/gcs_server", b"/raylet/raylet")
# The least that Ray accepts.
_OBJECT_STORE_BYTES = 80_000_000
# Ray's own processes start one after the other, on cores that may be busy.
_START_SECONDS = 120.0
# What a caller's environment may say about other clusters, or the way to them.
_LEFT_OUT = ("RAY_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class RayCluster:
    """A running Ray; hosts join it, and join it again after a loss of power."""

    def __init__(self, network: Network, cpus: Mapping[str, int]) -> None:
        self.network = network
        self.cpus = dict(cpus)
        self.token_file = network.folder / "ray_token"
        self.token_file.touch(0o600)
        self.token_file.write_text(secrets.token_hex(32))
        # For programs that connect to the cluster from one of the hosts.
        self.environment = environment(os.environ) | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    @property
    def head(self) -> Host:
        """The host that has the cluster's memory: without it there is no cluster."""
        return self.network.hosts[0]

    @property
    def address(self) -> str:
        """Where the cluster is reached."""
        return f"{self.head.address}:{_PORT}"

    def start(self) -> None:
        """Starts the head, then all other nodes at once."""
        self._start(self.head, ("--head", f"--port={_PORT}", "--include-dashboard=false"))
        with ThreadPoolExecutor() as threads:
            list(threads.map(self.join, self.network.hosts[1:]))

    def join(self, host: Host) -> None:
        """Starts a node on a host that is on."""
        self._start(host, (f"--address={self.address}",))

    def end(self, host: Host) -> None:
        """Kills the Ray of a host; with the head's, all that the cluster knew is gone."""
        for pid in host.processes().values():
            if any(part in Path(f"/proc/{pid}/cmdline").read_bytes() for part in _RAYS_OWN):
                os.kill(pid, signal.SIGKILL)

    def _start(self, host: Host, options: Sequence[str]) -> None:
        host.run(
            *_RAY,
            *options,
            f"--node-ip-address={host.address}",
            f"--num-cpus={self.cpus[host.name]}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            env=self.environment,
            seconds=_START_SECONDS,
        )


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """A caller's environment without what is about other clusters."""
    return {
        name: value for name, value in variables.items() if not name.upper().startswith(_LEFT_OUT)
    }


@contextmanager
def ray_cluster(network: Network, cpus: int | Mapping[str, int] = 2) -> Iterator[RayCluster]:
    """A Ray on all hosts of a network; it ends with them."""
    each = cpus if isinstance(cpus, Mapping) else {host.name: cpus for host in network.hosts}
    cluster = RayCluster(network, each)
    cluster.start()
    yield cluster
