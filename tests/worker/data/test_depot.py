"""F23, F24: data through Ray's object store, read once, shared by a node, and found again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradloom.worker.data.errors import DataChanged, DataUnreadable, ObjectStoreFull
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare_request, request_of
from gradloom.worker.data.prepared import Request
from gradloom.worker.data.spec import DataSource, DataSpec, Stream
from gradloom.worker.data.streams import NOTHING_GIVEN
from gradloom.worker.data.survey import take_survey
from gradloom.worker.data.target import TargetKind
from tests.ray_here import prepared

pytestmark = [pytest.mark.process, pytest.mark.ray]

STORE_BYTES = 80 << 20
NAME = "depot-of-the-tests"


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[str]]:
    """The ids of two nodes of a cluster, the first with the driver and the depot."""
    sizes: dict[str, Any] = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    with prepared():
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args=sizes)
        cluster.add_node(**sizes)
        ray.init(address=cluster.address, namespace="tests", log_to_driver=False)
        try:
            yield [node["NodeID"] for node in ray.nodes()]
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture
def name(nodes: list[str], request: pytest.FixtureRequest) -> Iterator[str]:
    """A depot of its own."""
    import ray

    from gradloom.worker.data.depot import start_depot

    assert nodes
    called = f"{NAME}-{request.node.name}"
    handle = start_depot(called)
    yield called
    ray.kill(handle)


def write(folder: Path, rows: int = 3_000) -> np.ndarray[Any, Any]:
    """12 kB a row, so that the rows take 36 MB and three blocks."""
    x = np.random.Generator(np.random.Philox(1)).random((rows, 3_000), np.float32)
    np.savez(folder / "rows.npz", x=x, y=np.arange(rows) % 5)
    return x


def asked(folder: Path, stream: Stream | None = None, **more: Any) -> Request:
    spec = DataSpec("y", "rows.npz", stream=stream, **more)
    return request_of(spec, Roots((folder,)), TargetKind.LABELS, joined=True)


def worker_on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from tests.worker.data.depot_worker import Worker

    actor: Any = Worker
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return actor.options(scheduling_strategy=place).remote()


def got(reference: Any) -> Any:
    import ray

    return ray.get(reference, timeout=60)


def client_of(name: str) -> Any:
    from gradloom.worker.data.depot import Client

    return Client(name)


def given_here(name: str, request: Request) -> Any:
    from gradloom.worker.data.depot import given_by

    return given_by(name, request, "", None)


def kill_depot(name: str) -> None:
    import ray

    os.kill(got(ray.get_actor(name).process.remote()), signal.SIGKILL)


def test_the_file_is_read_once_and_workers_of_a_node_share_its_rows(
    nodes: list[str], name: str, tmp_path: Path
) -> None:
    write(tmp_path)
    request = asked(tmp_path)
    group = [worker_on(node) for node in (nodes[0], nodes[0], nodes[1], nodes[1])]
    first = got(group[0].load.remote(name, request))
    (tmp_path / "rows.npz").unlink()
    others = got([each.load.remote(name, request) for each in group[1:]])
    assert [node for node, _, _ in (first, *others)] == [nodes[0], nodes[0], nodes[1], nodes[1]]
    assert not any(writeable for _, writeable, _ in (first, *others))


def test_rows_are_not_copied_into_a_worker(nodes: list[str], name: str, tmp_path: Path) -> None:
    x = write(tmp_path)
    worker = worker_on(nodes[1])
    small = tmp_path / "small"
    small.mkdir()
    write(small, 1_400)
    _, _, before = got(worker.load.remote(name, asked(small)))
    _, _, after = got(worker.load.remote(name, asked(tmp_path)))
    assert after - before < x.nbytes / 4


def test_a_depot_that_dies_reads_again(name: str, tmp_path: Path) -> None:
    x = write(tmp_path, 100)
    client, request = client_of(name), asked(tmp_path)
    kept = client.datasets(request, "")
    kill_depot(name)
    again = client.datasets(request, "")
    for data in (kept, again):
        assert np.array_equal(data.data.inputs[0].blocks[0], x)


def test_a_stream_s_blocks_come_through_the_depot_and_outlive_it(
    nodes: list[str], name: str, tmp_path: Path
) -> None:
    write(tmp_path, 600)
    request = asked(tmp_path, Stream(100), validation_fraction=0.1, test=DataSource("rows.npz"))
    survey = take_survey(request, 7)
    own = prepare_request(request, 7)
    expected = np.empty((200, 3_000), np.float32)
    own.training.fill(own.training.visited(0, 0, 200), [expected], np.empty(200, np.int64))
    worker = worker_on(nodes[1])
    found = got(worker.rows.remote(name, request, survey, 100))
    assert found == expected[:100].tobytes()
    kill_depot(name)
    found = got(worker.rows.remote(name, request, survey, 200))
    assert found == expected.tobytes()


def test_a_block_that_has_changed_is_told_with_both_hashes(name: str, tmp_path: Path) -> None:
    write(tmp_path, 100)
    request = asked(tmp_path, Stream(50))
    survey = take_survey(request, 7)
    with (tmp_path / "rows.npz").open("r+b") as file:
        file.seek(5_000)
        file.write(b"other")
    blocks = client_of(name).stream("stream", survey).blocks
    assert blocks is not None
    with pytest.raises(DataChanged, match=r'Block 0 of "rows\.npz" has the SHA-256'):
        blocks.read(0)


def test_f23_data_that_the_store_cannot_hold_is_read_by_the_workers_if_they_have_it(
    name: str, tmp_path: Path
) -> None:
    write(tmp_path, 6_000)
    assert given_here(name, asked(tmp_path)) == NOTHING_GIVEN


def test_f23_else_the_job_is_told_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 6_000)
    monkeypatch.setattr("gradloom.worker.data.depot._are_here", lambda _: False)
    with pytest.raises(ObjectStoreFull) as caught:
        given_here(name, asked(tmp_path))
    assert str(caught.value) == (
        "The data takes 72 MB of Ray's object store, which has 84 MB: start Ray with a larger "
        "object_store_memory, or set data.stream."
    )


def test_a_file_that_is_gone_is_told_as_such(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable, match=r'There is no file "rows\.npz"'):
        given_here(name, asked(tmp_path))
