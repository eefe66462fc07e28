"""Idle actors on nodes that are avoided end; nobody waits for the pool while Ray is asked."""

from collections import deque
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from gradloom.worker.engine.profile import PROFILE_DEFAULT
from tests.ray_here import prepared

pytestmark = pytest.mark.ray


class Idle:
    """Says where it is after somebody else has had a look at the pool; may be taken meanwhile."""

    def __init__(self, pool: Any, *, is_taken: bool) -> None:
        self.has_ended = False
        self._pool = pool
        self._is_taken = is_taken

    def place(self) -> SimpleNamespace:
        other = Thread(target=lambda: self._pool.idle, daemon=True)
        other.start()
        other.join(10)
        assert not other.is_alive(), "it waits for the pool"
        if self._is_taken:
            self._pool._idle.clear()
        return SimpleNamespace(node="id-b")

    def end(self, cluster: object) -> None:
        self.has_ended = True


@pytest.mark.parametrize("is_taken", [False, True])
def test_who_is_on_a_node_that_is_avoided_ends_unless_it_was_taken(*, is_taken: bool) -> None:
    with prepared():
        from gradloom.service.fleet.actor_pool import ActorPool, _Idle
    cluster: Any = SimpleNamespace(avoided=("id-b",))
    pool = ActorPool(1, PROFILE_DEFAULT, cluster, SimpleNamespace(cpus=0.0), lambda: 0.0)
    worker: Any = Idle(pool, is_taken=is_taken)
    pool._idle = deque([_Idle(worker, 0.0)])
    pool._leave()
    assert not pool.idle and worker.has_ended is not is_taken
