"""How much memory a job needs in one worker, worked out before anything is allocated."""

from dataclasses import dataclass

from gradloom.worker.data.batches import most_rows
from gradloom.worker.data.prepared import Summary
from gradloom.worker.engine.arrays import size
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.layout import row_bytes
from gradloom.worker.engine.optimizers import slots
from gradloom.worker.engine.spec import Optimizer

# An interpreter with NumPy and ours loaded.
PROCESS_BYTES = 100_000_000
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes by what they are for."""

    process: int
    data: int
    state: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.process + self.data + self.state + self.activations


def footprint(
    graph: Graph,
    optimizer: Optimizer,
    summary: Summary,
    *,
    batch_size: int,
    shards: int,
    is_looked_at: bool = False,
) -> Footprint:
    """An estimate, to the order of a quarter, for a worker that computes all shards.

    One whose layers are looked at has memory for another shard.
    """
    looked_at = most_rows(batch_size, shards, 0) if is_looked_at else 0
    return Footprint(
        process=PROCESS_BYTES,
        data=data_bytes(summary),
        state=graph.vector_size * _FLOAT_BYTES * _state_vectors(optimizer, shards),
        activations=row_bytes(graph)
        * (
            looked_at
            + most_rows(batch_size, shards, max(summary.validation_rows, summary.test_rows))
        ),
    )


def data_bytes(summary: Summary) -> int:
    """What the rows take: all of them, or of a stream those that are held, as numbers of 4 bytes.

    Where they come through Ray, the workers of a node share them.
    """
    held = summary.held_rows or summary.rows
    return (held + summary.test_rows) * _row_numbers(summary) * _FLOAT_BYTES


def _state_vectors(optimizer: Optimizer, shards: int) -> int:
    """Vectors as long as the parameters.

    Parameters, slots and average twice, those of the plan and its gradient, a gradient for each
    level of the tree.
    """
    averages = 0 if optimizer.average is None else 1
    return 2 * (1 + len(slots(optimizer.kind)) + averages) + 2 + shards.bit_length()


def _row_numbers(summary: Summary) -> int:
    return sum(map(size, summary.input_shapes)) + size(summary.target_shape)
