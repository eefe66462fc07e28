"""`gradloom cluster-check` on three hosts names the one that was made different."""

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.hosts.cluster import RayCluster
from benchmarks.hosts.faults import one_way_cut, slow
from benchmarks.hosts.network import Host

pytestmark = [pytest.mark.process, pytest.mark.ray, pytest.mark.timeout(300)]

Document = dict[str, Any]


def check(cluster: RayCluster, runs_on: Host) -> tuple[int, Document]:
    """Exit code and document of a check that is run on a host."""
    command = (sys.executable, "-m", "gradloom.service.cli", "cluster-check", "--json")
    process = runs_on.start(
        [*command, "--address", cluster.address], cluster.environment, subprocess.PIPE
    )
    assert process.entrance.stdout is not None
    document: Document = json.loads(process.entrance.stdout.readline())
    code = process.wait(60)
    process.close()
    return code, document


def test_three_healthy_hosts_have_no_problem(cluster: RayCluster) -> None:
    code, document = check(cluster, cluster.network.hosts[1])
    assert (code, document["problems"]) == (0, [])
    names = [host.name for host in cluster.network.hosts]
    assert [node["name"] for node in document["nodes"]] == names
    assert len({node["facts"]["selftest_sha256"] for node in document["nodes"]}) == 1
    measured = {(link["source"], link["target"]) for link in document["links"]}
    assert measured == {(a, b) for a in names for b in names if a != b}


@pytest.mark.needs("ip")
@pytest.mark.needs("tc")
def test_small_memory_a_cut_and_a_slow_link_are_each_named(cluster: RayCluster) -> None:
    first, second, third = cluster.network.hosts
    third.run("fallocate", "--length", "200M", "/dev/shm/full")
    try:
        with slow(cluster.network, second, megabits=20), one_way_cut(third, second):
            code, document = check(cluster, first)
    finally:
        third.run("rm", "/dev/shm/full")
    found = [(problem["code"], problem["nodes"]) for problem in document["problems"]]
    assert code == 1
    assert ("SHM_TOO_SMALL", [third.name]) in found
    assert {("LINK_CUT", (third.name, second.name)), ("LINK_SLOW", (first.name, second.name))} <= {
        (each, tuple(nodes)) for each, nodes in found
    }
