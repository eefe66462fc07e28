"""What virtual shards cost: a replica's whole step on the same batch in more and more of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.models import Task
from benchmarks.random_rows import DATA, write_rows
from gradloom.worker.assembly import TARGET_KINDS, data_sha256
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.prepared import Prepared
from gradloom.worker.engine.spec import Adam, Learning, Optimizer, SoftmaxCrossEntropy
from gradloom.worker.exchange.alone import Alone
from gradloom.worker.lockstep import Lockstep
from gradloom.worker.messages import Task as Orders
from gradloom.worker.replica import Replica

_BATCHES = 4


@dataclass(frozen=True, slots=True)
class Sharded:
    """How it is measured: a folder for random rows, rows of a batch, rounds, and the clock."""

    folder: Path
    batch: int
    rounds: int
    clock: Callable[[], float]


def sharded_steps(task: Task, how: Sharded, counts: Sequence[int]) -> dict[int, list[float]]:
    """Seconds of a step with each number of shards, one after the other in every round.

    The first round, in which plans are made, is not counted.
    """
    write_rows(task, how.folder, how.batch * _BATCHES)
    replicas = {count: _replica(task, how, count) for count in counts}
    measured = [
        {count: _step(steps, how.clock) for count, steps in replicas.items()}
        for _ in range(how.rounds + 1)
    ]
    return {count: [seconds[count] for seconds in measured[1:]] for count in counts}


def _step(steps: Lockstep, clock: Callable[[], float]) -> float:
    began = clock()
    for _ in steps.steps(1):
        pass
    return clock() - began


def task_on_rows(task: Task, folder: Path, batch: int, shards: int, steps: int) -> Orders:
    """What a worker needs to train a model on random rows, which are written into the folder."""
    write_rows(task, folder, batch * _BATCHES)
    return _orders(task, folder, batch, shards, steps)


def _orders(task: Task, folder: Path, batch: int, shards: int, steps: int) -> Orders:
    learning = Learning(task.model, SoftmaxCrossEntropy(), Optimizer(Adam(1e-3)), steps)
    sha256 = data_sha256(_prepared(folder, learning).summary)
    return Orders(learning, DATA, sha256, (str(folder),), batch, shards)


def _replica(task: Task, how: Sharded, shards: int) -> Lockstep:
    orders = _orders(task, how.folder, how.batch, shards, how.rounds + 1)
    return alone(Replica(orders, _prepared(how.folder, orders.learning)))


def alone(replica: Replica) -> Lockstep:
    """The steps of a replica that computes all shards by itself."""
    exchange = Alone(replica.layout)
    replica.keep(exchange.state, None, 0)
    replica.write_to(exchange.registers)
    return Lockstep(replica, exchange, (0, replica.task.shards))


def _prepared(folder: Path, learning: Learning) -> Prepared:
    kind = TARGET_KINDS[type(learning.loss)]
    return prepare(DATA, Roots((folder,)), seed=learning.seed, kind=kind)
