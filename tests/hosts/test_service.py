"""A service whose workers are on three hosts, and what they come to: the weights of one host."""

from collections.abc import Iterator

import pytest

from benchmarks.hosts.cluster import RayCluster
from benchmarks.hosts.service import Service, service
from gradloom.service.jobs.job import Job
from gradloom.service.watching import ProgressEvent
from tests.system import service_process
from tests.system.digits import digits

pytestmark = [pytest.mark.process, pytest.mark.ray, pytest.mark.timeout(300)]

EPOCHS = 1


@pytest.fixture(scope="module")
def across(cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the first of the three hosts."""
    with service(cluster, tmp_path_factory.mktemp("across")) as up:
        yield up


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The digits job as one process of this machine trains it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with service_process.service(folder) as up, up.client() as client:
        return client.wait(client.submit(digits(EPOCHS), workers=1))


def test_workers_on_three_hosts_come_to_the_weights_of_one(
    across: Service, cluster: RayCluster, undisturbed: Job
) -> None:
    with across.client() as client:
        job = client.submit(digits(EPOCHS), workers=3)
        next(event for event in client.watch(job) if isinstance(event, ProgressEvent))
        nodes = {assignment.node for assignment in client.get(job).assignments}
        weights = client.wait(job).receipt.weights_sha256
    assert nodes == {host.name for host in cluster.network.hosts}
    assert weights == undisturbed.receipt.weights_sha256
