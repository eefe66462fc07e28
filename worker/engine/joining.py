"""Whether shards may be computed together: only where it is seen to change no bit."""

from gradloom.worker.engine.gradient_check import fill_rows
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.layout import row_bytes
from gradloom.worker.engine.metrics import Statistics
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key
from gradloom.worker.engine.shards import Shard, spans

# Activations of rows that are computed together should stay near the caches.
_TOGETHER_BYTES = 1 << 23


def together(graph: Graph, batch_rows: int, least: int) -> int:
    """How many rows a plan should hold: those of a batch where they stay near the caches."""
    return max(least, min(batch_rows, _TOGETHER_BYTES // row_bytes(graph)))


def come_to_the_same(plan: Plan, shards: tuple[Shard, ...]) -> bool:
    """Whether these shards come to the same bits together as one by one.

    Computes both on random data with the parameters the plan reads, and overwrites its rows.
    """
    rows = sum(shard.rows for shard in shards)
    fill_rows(plan, rows, seed=0)
    inputs = [array.copy() for array in plan.all_inputs(rows)]
    target = plan.target(rows).copy()
    keys = [Key(0, CHECK, shard=place) for place in range(len(shards))]
    together = plan.train(shards, keys), plan.registers.tobytes()
    statistics: list[Statistics] = []
    for span, shard, key in zip(spans(shards), shards, keys, strict=True):
        for into, array in zip(plan.all_inputs(span.rows), inputs, strict=True):
            into[...] = array[span.slice]
        plan.target(span.rows)[...] = target[span.slice]
        statistics += plan.train((shard,), (key,))
    return together == (tuple(statistics), plan.registers.tobytes())
