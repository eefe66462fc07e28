"""What an error of Ray's means: the node's end is told from a worker that cannot start."""

from collections.abc import Callable

import pytest

from gradloom.service.jobs.states import Reason
from tests.ray_here import prepared

pytestmark = pytest.mark.ray

NODE_DIED = "The actor died because its node has died. Node Id: 2f"
EXITED = "Worker exit detail: exited with code 1."


def died(of: str) -> Exception:
    """What Ray raises where an actor died."""
    from ray.core.generated.common_pb2 import ActorDiedErrorContext
    from ray.exceptions import ActorDiedError

    return ActorDiedError(ActorDiedErrorContext(actor_id=bytes(16), error_message=of))


def unavailable(of: str) -> Exception:
    """What Ray raises where it does not know whether an actor died."""
    from ray.exceptions import ActorUnavailableError

    return ActorUnavailableError(of, bytes(16))


def meaning(
    raised: Callable[[str], Exception], of: str, *, node_lives: bool, was_ready: bool
) -> tuple[Reason, str]:
    with prepared():
        from gradloom.service.fleet.ray_worker import told_by

        return told_by(raised(of), 3, "node-b", node_lives=node_lives, was_ready=was_ready)


@pytest.mark.parametrize(
    ("raised", "of", "node_lives", "reason"),
    [
        (died, EXITED, True, Reason.WORKER_START_FAILED),
        (died, EXITED, False, Reason.NODE_LOST),
        (died, NODE_DIED, True, Reason.NODE_LOST),
        (unavailable, "Socket closed", True, Reason.NETWORK_CUT),
    ],
)
def test_why_a_worker_did_not_start(
    raised: Callable[[str], Exception], of: str, node_lives: bool, reason: Reason
) -> None:
    found, message = meaning(raised, of, node_lives=node_lives, was_ready=False)
    assert found is reason
    assert "worker 3 on node-b" in message


def test_a_worker_that_was_ready_and_went_with_its_node_is_not_said_to_have_died() -> None:
    reason, message = meaning(died, NODE_DIED, node_lives=True, was_ready=True)
    assert reason is Reason.NODE_LOST
    assert message == "worker 3 on node-b is gone: its node is lost"
