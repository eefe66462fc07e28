"""F23, F24: data through Ray's object store, read once, shared by a node, and found again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gradloom.worker.data import depot as module
from gradloom.worker.data.blocks import Blocked
from gradloom.worker.data.depot import Client, given_by, start_depot
from gradloom.worker.data.errors import DataChanged, DataUnreadable, ObjectStoreFull
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare_request, request_of
from gradloom.worker.data.prepared import Request
from gradloom.worker.data.spec import DataSource, DataSpec, Stream
from gradloom.worker.data.survey import take_survey
from gradloom.worker.data.target import TargetKind

STORE_BYTES = 80 << 20
NAME = "depot-of-the-tests"


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[str]]:
    """The ids of two nodes of a cluster, the first with the driver and the depot."""
    sizes: dict[str, Any] = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
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


@ray.remote(num_cpus=0)
class Worker:
    """Holds what it was given, as a worker of a job does."""

    def load(self, name: str, request: Request) -> tuple[str, bool, int]:
        self.given = given_by(name, request, "", None)
        assert self.given.datasets is not None
        (column,) = self.given.datasets.data.inputs[0].blocks
        assert isinstance(column, Blocked)
        pieces = [column.block(number) for number in range(column.blocking.count)]
        node = ray.get_runtime_context().get_node_id()
        return node, any(each.flags.writeable for each in pieces), private_bytes()

    def rows(self, name: str, request: Request, survey: Any, count: int) -> bytes:
        given = given_by(name, request, "stream", survey)
        data = prepare_request(request, 7, given)
        inputs = np.empty((count, 3_000), np.float32)
        positions = data.training.visited(0, 0, count)
        data.training.fill(positions, [inputs], np.empty(count, np.int64))
        self.data = data
        return inputs.tobytes()


def private_bytes() -> int:
    """Memory that no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1_024 for line in lines if line.startswith("Private_Dirty"))


def worker_on(node: str) -> Any:
    actor: Any = Worker
    return actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))


def test_the_file_is_read_once_and_workers_of_a_node_share_its_rows(
    nodes: list[str], name: str, tmp_path: Path
) -> None:
    write(tmp_path)
    request = asked(tmp_path)
    group = [worker_on(node).remote() for node in (nodes[0], nodes[0], nodes[1], nodes[1])]
    first = ray.get(group[0].load.remote(name, request), timeout=60)
    (tmp_path / "rows.npz").unlink()
    others = ray.get([each.load.remote(name, request) for each in group[1:]], timeout=60)
    assert [node for node, _, _ in (first, *others)] == [nodes[0], nodes[0], nodes[1], nodes[1]]
    assert not any(writeable for _, writeable, _ in (first, *others))


def test_rows_are_not_copied_into_a_worker(nodes: list[str], name: str, tmp_path: Path) -> None:
    x = write(tmp_path)
    worker = worker_on(nodes[1]).remote()
    small = tmp_path / "small"
    small.mkdir()
    write(small, 1_400)
    _, _, before = ray.get(worker.load.remote(name, asked(small)), timeout=60)
    _, _, after = ray.get(worker.load.remote(name, asked(tmp_path)), timeout=60)
    assert after - before < x.nbytes / 4


def test_a_depot_that_dies_reads_again(name: str, tmp_path: Path) -> None:
    x = write(tmp_path, 100)
    client, request = Client(name), asked(tmp_path)
    kept = client.datasets(request, "")
    os.kill(ray.get(ray.get_actor(name).process.remote(), timeout=60), signal.SIGKILL)
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
    worker = worker_on(nodes[1]).remote()
    found = ray.get(worker.rows.remote(name, request, survey, 100), timeout=60)
    assert found == expected[:100].tobytes()
    os.kill(ray.get(ray.get_actor(name).process.remote(), timeout=60), signal.SIGKILL)
    found = ray.get(worker.rows.remote(name, request, survey, 200), timeout=60)
    assert found == expected.tobytes()


def test_a_block_that_has_changed_is_told_with_both_hashes(name: str, tmp_path: Path) -> None:
    write(tmp_path, 100)
    request = asked(tmp_path, Stream(50))
    survey = take_survey(request, 7)
    with (tmp_path / "rows.npz").open("r+b") as file:
        file.seek(5_000)
        file.write(b"other")
    blocks = Client(name).stream("stream", survey).blocks
    assert blocks is not None
    with pytest.raises(DataChanged, match=r'Block 0 of "rows\.npz" has the SHA-256'):
        blocks.read(0)


def test_f23_data_that_the_store_cannot_hold_is_read_by_the_workers_if_they_have_it(
    name: str, tmp_path: Path
) -> None:
    write(tmp_path, 6_000)
    assert given_by(name, asked(tmp_path), "", None) == module.NOTHING_GIVEN


def test_f23_else_the_job_is_told_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 6_000)
    monkeypatch.setattr(module, "_are_here", lambda _: False)
    with pytest.raises(ObjectStoreFull) as caught:
        given_by(name, asked(tmp_path), "", None)
    assert str(caught.value) == (
        "The data takes 72 MB of Ray's object store, which has 84 MB: start Ray with a larger "
        "object_store_memory, or set data.stream."
    )


def test_a_file_that_is_gone_is_told_as_such(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataUnreadable, match=r'There is no file "rows\.npz"'):
        given_by(name, asked(tmp_path), "", None)
