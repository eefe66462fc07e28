"""Gradloom's service on the head of a cluster, and clients of it on this side."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.hosts.cluster import RayCluster
from benchmarks.hosts.keeper import Inside
from benchmarks.hosts.network import Host
from benchmarks.serving import SERVE, STOP_SECONDS, ready
from gradloom.service.client import Client


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is up."""

    host: Host
    process: Inside
    address: str

    def client(self) -> Client:
        """A client of it, from this side."""
        return Client(self.address)

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.send(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)


@contextmanager
def service(cluster: RayCluster, folder: Path, *options: str) -> Iterator[Service]:
    """A service on the cluster's head whose workers are on all its hosts; it ends afterwards."""
    head = cluster.head
    places = ("--listen", f"{head.address}:0", "--http", "127.0.0.1:0", "--i-accept-no-auth")
    backend = ("--backend", "ray", "--ray-address", cluster.address, "--data-dir", str(folder))
    command = (*SERVE, *places, *backend, *options)
    process = head.start(command, cluster.environment, subprocess.PIPE)
    try:
        yield Service(head, process, ready(process.entrance))
    finally:
        process.send(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        process.close()
