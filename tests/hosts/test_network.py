"""Hosts are apart from each other and from this machine, and all of them goes away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hosts.network import Network, free_subnet, network, sweep
from tests.hosts.talk import answers, listening
from tests.system.test_kill import ends_within

pytestmark = pytest.mark.process


def test_every_host_reaches_every_other(hosts: Network):
    for target in hosts.hosts:
        with listening(target):
            others = [host for host in hosts.hosts if host is not target]
            assert [answers(source, target) for source in others] == [1, 1]


def test_each_host_has_its_name_its_address_and_its_loopback(hosts: Network):
    for host in hosts.hosts:
        assert host.run("cat", "/proc/sys/kernel/hostname").strip() == host.name
        addresses = host.run("ip", "-4", "-oneline", "address")
        assert f"inet {host.address}/24" in addresses and "inet 127.0.0.1/8" in addresses


def test_each_host_sees_its_own_processes_alone(hosts: Network):
    one, other, _ = hosts.hosts
    with listening(one):
        assert len(one.processes()) == len(other.processes()) + 1
        assert 1 in one.processes()


def test_each_host_has_its_own_shared_memory(hosts: Network):
    one, other, _ = hosts.hosts
    one.run("touch", "/dev/shm/mark")
    try:
        assert other.run("ls", "/dev/shm").split() == [] != one.run("ls", "/dev/shm").split()
        assert not Path("/dev/shm/mark").exists()
    finally:
        one.run("rm", "/dev/shm/mark")


def test_a_host_without_power_is_silent_and_comes_back(hosts: Network):
    one, other, _ = hosts.hosts
    pid = one.processes()[1]
    hosts.power_off(one)
    assert not Path(f"/proc/{pid}").exists()
    hosts.power_on(one)
    with listening(one):
        assert answers(other, one) == 1


def test_shared_memory_can_be_small():
    with network(["tiny"], {"tiny": 1 << 20}) as hosts:
        (tiny,) = hosts.hosts
        assert tiny.run("df", "--output=size", "/dev/shm").split()[-1] == "1024"


def test_nothing_is_left_when_hosts_end(hosts: Network):
    with network(["gone"]) as other:
        (host,) = other.hosts
        pids = list(host.processes().values())
        assert pids and is_link(other.uplink) and other.folder.exists()
    assert not is_link(other.uplink) and not other.folder.exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def is_link(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


CRASHING = """
import os
from benchmarks.hosts.network import network

with network(["lost"]) as hosts:
    print(hosts.folder, *hosts.hosts[0].processes().values(), flush=True)
    input()
"""


def test_nothing_is_left_of_an_owner_that_was_killed(hosts: Network):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", CRASHING], text=True, **pipes) as owner:
        assert owner.stdout is not None
        folder, *pids = owner.stdout.readline().split()
        handles = [os.pidfd_open(int(pid)) for pid in pids]
        owner.kill()
    assert handles and all(ends_within(handle, 5) for handle in handles)
    sweep()
    assert not Path(folder).exists()


def test_a_subnet_is_free_where_no_address_of_ours_is_in_it():
    assert free_subnet("2: eth0 inet 10.0.0.3/8", 300) == "198.18.44"
    assert free_subnet("5: gl1 inet 198.18.44.254/24", 300) == "198.18.45"
