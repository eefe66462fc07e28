"""Idle actors hold CPUs; they let go of them for workers that wait."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gradloom.worker.engine.profile import PROFILE_DEFAULT
from tests.ray_here import prepared

pytestmark = [pytest.mark.process, pytest.mark.ray]

PATIENCE_SECONDS = 60.0
# Ray reads its environment when it is imported, so the types that import it are not at hand here.
Cluster = Any


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Ray of our own with two CPUs, and what is known of it."""
    with prepared():
        from gradloom.service.fleet.ray_cluster import Cluster
        from gradloom.service.fleet.ray_fleet import RayFleet

        fleet = RayFleet(None, cpus=2, profile=PROFILE_DEFAULT)
        yield Cluster("Ray", lambda: datetime.now(UTC), time.monotonic)
        fleet.close()


def test_an_idle_actor_makes_way_for_a_worker_that_waits(cluster: Cluster) -> None:
    """Two CPUs: an actor comes back from its job while a worker of another job waits for one."""
    from gradloom.service.fleet.actor_pool import ActorPool
    from gradloom.service.fleet.ray_worker import Terms

    pool = ActorPool(1, PROFILE_DEFAULT, cluster, Terms(1.0, "127.0.0.1"), time.monotonic)
    first, second = (pool.take(PROFILE_DEFAULT) for _ in range(2))
    assert first.place(PATIENCE_SECONDS) and second.place(PATIENCE_SECONDS)
    third = pool.take(PROFILE_DEFAULT)
    pool.give_back(first)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while third.is_waiting:
        assert time.monotonic() < deadline, "it found no place"
        cluster.look()
        pool.tend()
        third.place(patience=0.2)
    assert not pool.idle
    for worker in (second, third):
        worker.end(cluster)
    pool.close()


def test_actors_are_asked_for_elsewhere_than_on_nodes_that_are_avoided(cluster: Cluster) -> None:
    """The only node there is, so that they wait until it is avoided no more."""
    from gradloom.service.fleet.actor_pool import ActorPool
    from gradloom.service.fleet.ray_worker import Terms

    pool = ActorPool(1, PROFILE_DEFAULT, cluster, Terms(1.0, "127.0.0.1"), time.monotonic)
    idle = pool.take(PROFILE_DEFAULT)
    assert idle.place(PATIENCE_SECONDS)
    pool.give_back(idle)
    cluster.avoid(frozenset(node.name for node in cluster.nodes))
    elsewhere = pool.take(PROFILE_DEFAULT)
    cluster.avoid(frozenset())
    here = pool.take(PROFILE_DEFAULT)
    assert here.place(PATIENCE_SECONDS)
    assert elsewhere.is_waiting and not pool.idle
    for worker in (elsewhere, here):
        worker.end(cluster)
    pool.close()
