"""One copy of the model: stands at a step, computes its shards, adds up roots, updates itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from gradloom.worker.assembly import target_of
from gradloom.worker.data.batches import block_bounds, most_rows, place, shard_bounds
from gradloom.worker.data.preparation import Prepared
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.split import Rows, order
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.kernels.operations import FAST
from gradloom.worker.engine.metrics import Statistics, divisor, summarize
from gradloom.worker.engine.optimizers import clip_elements, clip_scale, global_norm
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import DROPOUT, Key
from gradloom.worker.engine.schedules import learning_rate
from gradloom.worker.exchange.star import Sum, added, compute, summed
from gradloom.worker.exchange.tree import Node, cover, fold
from gradloom.worker.messages import Task
from gradloom.worker.state import State, Vector


@dataclass(frozen=True, slots=True)
class Commit:
    """A step that is done: updates so far, means over its batch, norm before clipping, seconds."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    metrics: dict[str, float]
    seconds: float


class Seconds:
    """Seconds by phase since they were last taken."""

    def __init__(self) -> None:
        self._spent = {"data": 0.0, "forward": 0.0, "backward": 0.0}

    def add(self, phase: str, seconds: float) -> None:
        """Adds to a phase."""
        self._spent[phase] += seconds

    def take(self) -> dict[str, float]:
        """What was spent; the count begins anew."""
        spent, self._spent = self._spent, dict.fromkeys(self._spent, 0.0)
        return spent


class Replica:
    """Computes any shard of a job and holds the job's whole state.

    The result of every method is a function of the task, the data and the state alone.
    """

    def __init__(
        self, task: Task, data: Prepared, clock: Callable[[], float] = perf_counter
    ) -> None:
        learning = task.learning
        self._task = task
        self._data = data
        self._clock = clock
        self._graph = build_graph(
            learning.model, learning.loss, data.summary.input_shape, target_of(data.summary)
        )
        evaluated = max(data.summary.validation_rows, data.summary.test_rows)
        rows = most_rows(task.batch_size, task.shards, evaluated)
        self._plan = Plan(self._graph, rows, operations=FAST, clock=clock)
        self._epoch_order: tuple[int, Rows] = (-1, np.empty(0, np.int64))
        self.state = State(self._graph, learning.optimizer, learning.seed)
        self.seconds = Seconds()

    def compute(self, first: int, last: int) -> dict[Node, Sum]:
        """Roots of the shards first … last-1 of the batch that follows the state's step."""
        batch = place(self.state.step, self._data.training.rows, self._task.batch_size)
        bounds = shard_bounds(batch.last - batch.first, self._task.shards)
        rows = self._order(batch.epoch)[batch.first : batch.last]
        self._use_parameters()
        return compute(
            first,
            last,
            self._task.shards,
            lambda shard: self._shard(shard, rows[slice(*bounds[shard])]),
        )

    def _shard(self, shard: int, rows: Rows) -> Sum:
        self._fill(self._data.training, rows)
        key = Key(self._task.learning.seed, DROPOUT, self.state.step, shard)
        statistics = self._plan.value_and_grad(len(rows), key)
        self.seconds.add("forward", self._plan.forward_seconds)
        self.seconds.add("backward", self._plan.backward_seconds)
        return Sum(self._plan.gradient.astype(np.float32), statistics)

    def _fill(self, reader: Reader, rows: Rows) -> None:
        began = self._clock()
        if len(rows):
            reader.fill(rows, self._plan.inputs(len(rows)), self._plan.target(len(rows)))
        self.seconds.add("data", self._clock() - began)

    def _order(self, epoch: int) -> Rows:
        if self._epoch_order[0] != epoch:
            seed, rows = self._task.learning.seed, self._data.training.rows
            self._epoch_order = (epoch, order(rows, seed, epoch))
        return self._epoch_order[1]

    def _use_parameters(self) -> None:
        np.copyto(self._plan.parameters, self.state.parameters)

    def advance(self, parts: Sequence[dict[Node, Sum]]) -> Commit:
        """Adds up the roots of all shards and makes the step; raises IncompleteTree."""
        began = self._clock()
        total = summed(parts, self._task.shards)
        rate = self._learning_rate()
        norm = self._clipped_mean(total)
        self.state.advance(total.gradient, rate)
        metrics = summarize(self._task.learning.loss, total.statistics)
        # A batch of which no row counts loses nothing; its mean would be no number.
        loss = metrics["loss"] if total.statistics[0] else 0.0
        return Commit(self.state.step, loss, rate, norm, metrics, self._clock() - began)

    def _learning_rate(self) -> float:
        learning = self._task.learning
        base = learning.optimizer.kind.learning_rate
        return learning_rate(learning.schedule, base, self.state.step, learning.steps)

    def _clipped_mean(self, total: Sum) -> float:
        """Makes the sum of gradients the batch's clipped mean; its norm before clipping."""
        gradient = total.gradient
        with np.errstate(all="ignore"):
            np.divide(gradient, np.float32(divisor(total.statistics)), out=gradient)
            norm = global_norm(gradient)
            self._clip(gradient, norm)
        return norm

    def _clip(self, gradient: Vector, norm: float) -> None:
        optimizer = self._task.learning.optimizer
        if optimizer.clip_value is not None:
            clip_elements(gradient, optimizer.clip_value)
            norm = global_norm(gradient)
        if optimizer.clip_norm is not None:
            scale = clip_scale(norm, optimizer.clip_norm)
            np.multiply(gradient, np.float32(scale), out=gradient)

    def evaluate(self, split: str, first: int, last: int) -> dict[Node, Statistics]:
        """Statistics of the blocks first … last-1 of a split, validation or test."""
        reader = self._reader(split)
        bounds = block_bounds(reader.rows)
        self._use_parameters()
        return {
            node: fold(node, len(bounds), lambda b: self._block(reader, *bounds[b]), added)
            for node in cover(first, last, len(bounds))
        }

    def _reader(self, split: str) -> Reader:
        reader = self._data.validation if split == "validation" else self._data.test
        if reader is None:
            raise ValueError(f"the job has no {split} rows")
        return reader

    def _block(self, reader: Reader, first: int, last: int) -> Statistics:
        self._fill(reader, np.arange(first, last, dtype=np.int64))
        began = self._clock()
        statistics = self._plan.evaluate(last - first)
        self.seconds.add("forward", self._clock() - began)
        return statistics
