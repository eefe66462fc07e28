"""The head of a cluster is lost and another takes its place, while jobs train and users look on."""

import signal
from pathlib import Path

import pytest

from benchmarks.hosts.cluster import ray_cluster
from benchmarks.hosts.service import service
from benchmarks.serving import STOP_SECONDS
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import IncidentEvent, ProgressEvent
from tests.hosts.conftest import CPUS_EACH, made_hosts
from tests.system import service_process
from tests.system.digits import digits

pytestmark = [pytest.mark.process, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

EPOCHS = 60
STEPS_BEFORE = 60
LOST = Reason.RAY_UNREACHABLE


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the job by one process of this machine."""
    with service_process.service(tmp_path_factory.mktemp("here")) as up, up.client() as client:
        return client.wait(client.submit(digits(EPOCHS), workers=1)).receipt.weights_sha256


def test_jobs_go_on_under_a_new_head_and_the_service_answers_meanwhile(
    undisturbed: str, tmp_path: Path
) -> None:
    with (
        made_hosts() as hosts,
        ray_cluster(hosts, CPUS_EACH) as cluster,
        service(cluster, tmp_path) as up,
        up.client() as client,
    ):
        job = client.submit(digits(EPOCHS), workers=3)
        events = client.watch(job)
        next(e for e in events if isinstance(e, ProgressEvent) and e.step > STEPS_BEFORE)
        for host in hosts.hosts:
            cluster.end(host)
        cause = next(e for e in events if isinstance(e, Job | IncidentEvent) and e.reason is LOST)
        assert f"Ray head {cluster.address} unreachable since " in cause.message
        other = client.submit(digits(1), workers=3)
        assert [client.get(j).state for j in (job, other)] == [State.RECOVERING, State.QUEUED]
        cluster.start()
        done = client.wait(job)
        assert (done.state, done.receipt.weights_sha256) == (State.SUCCEEDED, undisturbed)
        assert client.wait(other).state is State.SUCCEEDED
        up.process.send(signal.SIGTERM)
        assert up.process.wait(STOP_SECONDS) == 0
