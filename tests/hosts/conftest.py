"""Hosts that tests share; tests are skipped where they cannot be made, with what refuses."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

import pytest

from benchmarks.hosts import faults
from benchmarks.hosts.cluster import RayCluster, ray_cluster
from benchmarks.hosts.network import Network, network
from benchmarks.hosts.tools import CannotUse

CPUS_EACH = 2


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(tool): makes faults with a tool of the system")


@pytest.fixture(scope="session")
def hosts() -> Iterator[Network]:
    """Three hosts that are on, with nothing on them. Whoever makes a fault heals it."""
    with made_hosts() as up:
        yield up


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """A Ray on three other hosts, two CPUs each."""
    with made_hosts() as up, ray_cluster(up, CPUS_EACH) as ray:
        yield ray


@contextmanager
def made_hosts() -> Iterator[Network]:
    with ExitStack() as stack:
        try:
            up = stack.enter_context(network())
        except CannotUse as refusal:
            pytest.skip(str(refusal))
        yield up


@cache
def missing_tools(hosts: Network) -> dict[str, str]:
    return faults.missing(hosts)


@pytest.fixture(autouse=True)
def tool_is_there(request: pytest.FixtureRequest) -> None:
    """Skips a test that needs a tool which cannot be used here, with the tool's name."""
    for marker in request.node.iter_markers("needs"):
        (tool,) = marker.args
        why = missing_tools(request.getfixturevalue("hosts")).get(tool)
        if why:
            pytest.skip(f"{tool}: {why}")
