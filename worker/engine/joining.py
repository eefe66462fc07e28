"""Whether shards may be computed together: only where it is seen to change no bit."""

from gradloom.worker.engine.gradient_check import fill_rows, random_parameters
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.layout import row_bytes
from gradloom.worker.engine.metrics import Statistics
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key
from gradloom.worker.engine.shards import Shard, spans

# Activations of rows that are computed together should stay near the caches: of more a step is the
# slower (measured, a language model by a tenth at four times as many).
_TOGETHER_BYTES = 1 << 21
# Rows that are looked at, at least, before shards are taken to come to the same bits.
_ROWS_TRIED = 256


def together(graph: Graph, batch_rows: int, least: int) -> int:
    """How many rows a plan should hold: those of a batch where they stay near the caches."""
    return max(least, min(batch_rows, _TOGETHER_BYTES // row_bytes(graph)))


def come_to_the_same(plan: Plan, shards: tuple[Shard, ...]) -> bool:
    """Whether these shards come to the same bits together as one by one.

    They do where every operation says so of any rows. Else computes both on random data with
    random parameters, so that it is the same answer for every worker at every step, and overwrites
    the plan's rows and registers; a trial alone may miss that a shard begins where it must not.
    The parameters that the plan reads are left alone: other workers may be reading them. Few rows
    are tried several times: where most of what a product adds up is zero, as after a relu and a
    dropout, another order of additions shows in few of its elements.
    """
    rows, begins = sum(shard.rows for shard in shards), plan.begins
    if begins == 1 or not rows:
        return rows > 0
    if any(span.first % begins for span in spans(shards)):
        return False
    kept, trials = plan.parameters, -(-_ROWS_TRIED // rows)
    tried = random_parameters(plan.graph, seed=0).astype(kept.dtype)
    plan.read(tried)
    try:
        return all(_come_to_the_same(plan, shards, seed) for seed in range(trials))
    finally:
        plan.read(kept)
        plan.forget(tried)


def _come_to_the_same(plan: Plan, shards: tuple[Shard, ...], seed: int) -> bool:
    rows = sum(shard.rows for shard in shards)
    fill_rows(plan, rows, seed)
    inputs = [array.copy() for array in plan.all_inputs(rows)]
    target = plan.target(rows).copy()
    keys = [Key(seed, CHECK, shard=place) for place in range(len(shards))]
    together = plan.train(shards, keys), _bytes(plan)
    statistics: list[Statistics] = []
    for span, shard, key in zip(spans(shards), shards, keys, strict=True):
        for into, array in zip(plan.all_inputs(span.rows), inputs, strict=True):
            into[...] = array[span.slice]
        plan.target(span.rows)[...] = target[span.slice]
        statistics += plan.train((shard,), (key,))
    return together == (tuple(statistics), _bytes(plan))


def _bytes(plan: Plan) -> bytes:
    return b"".join(register.tobytes() for register in plan.registers)
