"""A worker on Ray that holds what a depot gave it. Imports Ray, so tests import it late."""

from pathlib import Path
from typing import Any

import numpy as np
import ray

from gradloom.worker.data.blocks import Blocked
from gradloom.worker.data.depot import given_by
from gradloom.worker.data.preparation import prepare_request
from gradloom.worker.data.prepared import Request


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
