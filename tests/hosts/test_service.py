"""Workers on three hosts come to the weights of one, whatever the network does meanwhile."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.bits_jobs import MODELS, Kind
from benchmarks.hosts.cluster import RayCluster
from benchmarks.hosts.faults import cut, loss, one_way_cut, slow
from benchmarks.hosts.network import Host
from benchmarks.hosts.service import Service, service
from gradloom.service.client import Client
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import Event, IncidentEvent, ProgressEvent
from tests.system import service_process
from tests.system.digits import digits

pytestmark = [pytest.mark.process, pytest.mark.ray, pytest.mark.timeout(400)]

# Jobs that end by themselves, and such as take longer than a fault of some seconds.
SHORT, LONG = 3, 100
# Enough steps for limits to have been learned.
STEPS_BEFORE = 60

# What would be noticed of a network that is only bad.
FALSE_ALARMS = {
    Reason.NETWORK_CUT,
    Reason.NODE_LOST,
    Reason.WORKER_FROZEN,
    Reason.WORKER_LOST,
}

Undisturbed = Callable[[int], str]
Fault = AbstractContextManager[None]


@pytest.fixture(scope="module")
def across(cluster: RayCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on the first of the three hosts."""
    with service(cluster, tmp_path_factory.mktemp("across")) as up:
        yield up


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a service whose workers are processes of this machine."""
    with service_process.service(tmp_path_factory.mktemp("here")) as up, up.client() as client:
        yield client


@pytest.fixture(scope="module")
def undisturbed(here: Client) -> Undisturbed:
    """The weights of the digits job of so many epochs, by one process of this machine."""

    @cache
    def weights(epochs: int) -> str:
        return here.wait(here.submit(digits(epochs), workers=1)).receipt.weights_sha256

    return weights


@dataclass(frozen=True, slots=True)
class Story:
    """A job that ended; the steps it told of, each with its time; and when the fault began."""

    job: Job
    steps: tuple[tuple[float, int], ...]
    incidents: tuple[Reason, ...]
    fault_time: float

    @property
    def seconds_to_the_next_step(self) -> float:
        """From the fault to the first step that was committed after it had begun."""
        known = max((step for when, step in self.steps if when < self.fault_time), default=0)
        later = [when for when, step in self.steps if when > self.fault_time and step > known]
        return later[0] - self.fault_time

    @property
    def commits_no_step_twice(self) -> bool:
        """Whether steps never fell, in one attempt; an epoch's last one is told of twice."""
        rises = all(before <= after for (_, before), (_, after) in pairwise(self.steps))
        return rises and len(self.job.attempts) == 1


def told(client: Client, epochs: int, fault: Fault | None = None, seconds: float = 0) -> Story:
    """Trains on three hosts, with a fault for some seconds once the job is under way."""
    job = client.submit(digits(epochs), workers=3)
    steps: list[tuple[float, int]] = []
    incidents: list[Reason] = []
    began: list[float] = []

    def make_fault() -> None:
        with fault or nullcontext():
            began.append(time.monotonic())
            job_ended.wait(seconds)

    job_ended = threading.Event()
    thread = threading.Thread(target=make_fault)
    for event in client.watch(job):
        match event:
            case ProgressEvent():
                steps.append((time.monotonic(), event.step))
                if fault and not thread.ident and event.step > STEPS_BEFORE:
                    thread.start()
            case IncidentEvent():
                incidents.append(event.reason)
    job_ended.set()
    if thread.ident:
        thread.join()
    return Story(client.get(job), tuple(steps), tuple(incidents), *(began or [0.0]))


def test_workers_on_three_hosts_come_to_the_weights_of_one(
    across: Service, cluster: RayCluster, undisturbed: Undisturbed
) -> None:
    with across.client() as client:
        job = client.submit(digits(SHORT), workers=3)
        next(event for event in client.watch(job) if isinstance(event, ProgressEvent))
        nodes = [assignment.node for assignment in client.get(job).assignments]
        weights = client.wait(job).receipt.weights_sha256
    names = {host.name for host in cluster.network.hosts}
    assert {name for name in names for node in nodes if node.startswith(name)} == names
    assert weights == undisturbed(SHORT)


def test_workers_that_encrypt_come_to_the_same_weights(
    cluster: RayCluster, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    with service(cluster, tmp_path, "--encrypt-workers") as up, up.client() as client:
        story = told(client, SHORT)
    assert story.commits_no_step_twice and not story.incidents
    assert story.job.receipt.weights_sha256 == undisturbed(SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_each_kind_of_model_has_one_hash(
    across: Service, here: Client, tmp_path: Path, model: str
) -> None:
    """A short selection of what `make test-bits` proves."""
    job = Kind(model, "adam").job(tmp_path, steps=6)
    with across.client() as client:
        far = client.wait(client.submit(job, workers=5))
    near = here.wait(here.submit(job, workers=1))
    assert far.receipt.weights_sha256 == near.receipt.weights_sha256


@pytest.mark.needs("nft")
@pytest.mark.slow
def test_lost_packets_are_noticed_by_nobody(
    across: Service, cluster: RayCluster, undisturbed: Undisturbed
) -> None:
    with across.client() as client, loss(cluster.network, cluster.network.hosts[2], 5):
        story = told(client, SHORT)
    assert not FALSE_ALARMS & set(story.incidents)
    assert story.job.receipt.weights_sha256 == undisturbed(SHORT)


@pytest.mark.needs("tc")
@pytest.mark.slow
def test_a_slow_link_is_noticed_by_nobody(
    across: Service, cluster: RayCluster, undisturbed: Undisturbed
) -> None:
    with across.client() as client, slow(cluster.network, cluster.network.hosts[2], megabits=20):
        story = told(client, SHORT)
    assert not FALSE_ALARMS & set(story.incidents)
    assert story.job.receipt.weights_sha256 == undisturbed(SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2, 10])
def test_a_link_that_is_cut_and_healed_changes_no_weight(
    across: Service, cluster: RayCluster, undisturbed: Undisturbed, seconds: float
) -> None:
    with across.client() as client:
        story = told(client, LONG, cut(cluster.network, cluster.network.hosts[2]), seconds)
    assert story.commits_no_step_twice
    assert story.job.receipt.weights_sha256 == undisturbed(LONG)


@pytest.mark.needs("ip")
@pytest.mark.slow
def test_a_one_way_cut_changes_no_weight(
    across: Service, cluster: RayCluster, undisturbed: Undisturbed
) -> None:
    _, second, third = cluster.network.hosts
    with across.client() as client:
        story = told(client, LONG, one_way_cut(third, second), 5)
    assert story.commits_no_step_twice
    assert story.job.receipt.weights_sha256 == undisturbed(LONG)


def test_the_others_go_on_when_a_host_is_lost(
    across: Service, cluster: RayCluster, undisturbed: Undisturbed
) -> None:
    with across.client() as client:
        story = told(client, LONG, without_power(cluster, cluster.network.hosts[2]), 5)
    assert story.commits_no_step_twice and story.incidents
    assert story.seconds_to_the_next_step < 5
    assert story.job.receipt.weights_sha256 == undisturbed(LONG)


@contextmanager
def without_power(cluster: RayCluster, host: Host) -> Iterator[None]:
    """A host is lost; afterwards it is started again and joins the cluster."""
    cluster.network.power_off(host)
    try:
        yield
    finally:
        cluster.network.power_on(host)
        cluster.join(host)


def _until_it_is_short_of_a_host(events: Iterator[Event]) -> Iterator[Reason]:
    """Incidents until the job hears of the loss, or waits for CPUs as its workers find no place."""
    for event in events:
        if isinstance(event, Job) and event.state is State.QUEUED:
            return
        if isinstance(event, IncidentEvent):
            yield event.reason
            if event.reason is Reason.NODE_LOST:
                return


@pytest.mark.slow
def test_a_host_that_is_lost_while_workers_start_is_not_the_jobs_fault(
    cluster: RayCluster, tmp_path: Path
) -> None:
    """Ray notices after a minute; what is asked for there meanwhile fails again and again."""
    with service(cluster, tmp_path, "--warm-workers", "0") as up, up.client() as client:
        job = client.submit(digits(SHORT), workers=6)
        events = client.watch(job)
        next(each for each in events if isinstance(each, Job) and each.state is State.STARTING)
        with without_power(cluster, cluster.network.hosts[2]):
            seen = [*_until_it_is_short_of_a_host(events)]
        seen += [event.reason for event in events if isinstance(event, IncidentEvent)]
        assert client.get(job).state is State.SUCCEEDED
    assert Reason.WORKER_START_FAILED not in seen


CROWD = """
import sys, time, ray
ray.init(address=sys.argv[1], namespace="others", log_to_driver=False)
hold = ray.remote(num_cpus=1)(type("Hold", (), {"hold": lambda self: None}))
holders = [hold.remote() for _ in range(int(sys.argv[2]))]
ray.get([holder.hold.remote() for holder in holders])
print("held", flush=True)
time.sleep(1000)
"""


@contextmanager
def crowded(cluster: RayCluster, cpus: int) -> Iterator[None]:
    """Another program holds so many of the cluster's CPUs."""
    command = (sys.executable, "-c", CROWD, cluster.address, str(cpus))
    other = cluster.head.start(command, cluster.environment, subprocess.PIPE)
    try:
        assert other.entrance.stdout and "held" in other.entrance.stdout.readline()
        yield
    finally:
        other.send(signal.SIGKILL)
        other.wait(60)
        other.close()


@pytest.mark.slow
def test_a_job_that_finds_no_place_beside_others_waits_in_the_queue(
    cluster: RayCluster, tmp_path: Path
) -> None:
    with service(cluster, tmp_path) as up, up.client() as client:
        with crowded(cluster, 4):
            job = client.submit(digits(SHORT), workers=4)
            moves = (each for each in client.watch(job) if isinstance(each, Job))
            states = [next(moves).state for _ in range(3)]
            waiting = client.get(job)
        assert states == [State.QUEUED, State.STARTING, State.QUEUED]
        assert waiting.reason is Reason.INSUFFICIENT_CAPACITY
        assert "needs 4 workers × 1 CPU, free: " in waiting.message
        assert client.wait(job).state is State.SUCCEEDED
