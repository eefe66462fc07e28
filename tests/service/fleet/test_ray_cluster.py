"""Which CPUs of a cluster count."""

import pytest

from tests.ray_here import prepared

pytestmark = pytest.mark.ray


def test_of_a_node_that_is_avoided_only_what_is_held_there_counts() -> None:
    """Two work on b still; four others find room on a."""
    with prepared():
        from gradloom.service.fleet.ray_cluster import Node, cpus_for_workers
    a = Node("id-a", "a", "10.0.0.1", cpus=4.0, free=4.0)
    b = Node("id-b", "b", "10.0.0.2", cpus=4.0, free=2.0)
    assert cpus_for_workers((a, b), ()) == 8
    assert cpus_for_workers((a, b), {b.name}) == 6
