"""F08: a process that gets a fifth of its time; the job goes on, and to the same weights."""

from collections.abc import Callable

import pytest

from benchmarks.straggler import slowed
from gradloom.service.client import Client
from gradloom.service.jobs.states import State
from tests.system.digits import digits
from tests.system.test_kill import await_progress, incidents

pytestmark = pytest.mark.process

EPOCHS = 12


def test_f08_a_worker_that_is_stopped_most_of_the_time_changes_nothing(
    client: Client, undisturbed: Callable[[int], str]
) -> None:
    job = client.submit(digits(EPOCHS), workers=3)
    await_progress(client, job)
    with slowed(client.get(job).assignments[1].pid):
        done = client.wait(job)
    assert (incidents(client, job), done.state) == ([], State.SUCCEEDED)
    assert done.receipt.weights_sha256 == undisturbed(EPOCHS)
