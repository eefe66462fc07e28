"""Packets are really cut off, lost and slowed, in the directions that are said, and healed."""

import pytest

from benchmarks.hosts.faults import cut, loss, one_way_cut, parted, slow
from benchmarks.hosts.network import Network
from tests.hosts.talk import answers, listening, reaches, stream_seconds

pytestmark = pytest.mark.process


def test_a_host_that_is_cut_off_is_heard_by_nobody_until_it_is_healed(hosts: Network):
    one, other, third = hosts.hosts
    with listening(other):
        with cut(hosts, other):
            assert [answers(source, other) for source in (one, third)] == [0, 0]
        assert reaches(one, other)


@pytest.mark.needs("ip")
def test_a_one_way_cut_stops_what_is_sent_that_way(hosts: Network):
    one, other, third = hosts.hosts
    with listening(other), one_way_cut(one, other):
        assert answers(one, other) == 0
        assert answers(third, other) == 1
    with listening(other):
        assert answers(one, other) == 1


@pytest.mark.needs("ip")
def test_a_one_way_cut_lets_the_other_way_through(hosts: Network):
    """The question arrives, which is seen at the bridge's port; its answer does not come back."""
    one, other, _ = hosts.hosts
    with listening(other), one_way_cut(other, one):
        before = received(hosts, other.name)
        assert answers(one, other, datagrams=5, seconds=0.05) == 0
        assert received(hosts, other.name) - before >= 5


def received(hosts: Network, host: str) -> int:
    """Packets that the bridge has handed to a host."""
    lines = hosts.host(host).run("cat", "/proc/net/dev").splitlines()
    (received,) = (line.split()[2] for line in lines if line.strip().startswith("eth0:"))
    return int(received)


@pytest.mark.needs("ip")
def test_parted_hosts_both_reach_the_third(hosts: Network):
    one, other, third = hosts.hosts
    with listening(third), listening(other), parted(one, other):
        assert [answers(one, third), answers(other, third)] == [1, 1]
        assert answers(one, other) == 0


@pytest.mark.needs("nft")
def test_a_share_of_packets_is_lost(hosts: Network):
    one, other, _ = hosts.hosts
    with listening(other):
        with loss(hosts, other, 20):
            assert 30 < answers(one, other, datagrams=100, seconds=0.02) < 95
        assert answers(one, other, datagrams=100) == 100


@pytest.mark.needs("nft")
def test_a_stream_survives_the_loss_of_some_packets(hosts: Network):
    one, other, _ = hosts.hosts
    with listening(other), loss(hosts, other, 5):
        assert stream_seconds(one, other, 1_000_000) < 20


@pytest.mark.needs("tc")
def test_a_slow_link_is_slow_both_ways(hosts: Network):
    one, other, third = hosts.hosts
    with listening(one), listening(other), slow(hosts, other, megabits=10):
        assert stream_seconds(one, other, 1_000_000) > 0.5
        assert stream_seconds(other, one, 1_000_000) > 0.5
        with listening(third):
            assert stream_seconds(one, third, 1_000_000) < 0.5


@pytest.mark.needs("tc")
def test_a_fault_of_a_host_that_was_restarted_meanwhile_needs_no_healing(hosts: Network):
    one, other, _ = hosts.hosts
    with slow(hosts, other, megabits=10):
        hosts.power_off(other)
        hosts.power_on(other)
    with listening(other):
        assert stream_seconds(one, other, 1_000_000) < 0.5
