"""One copy of the model: stands at a step, computes its shards, adds up roots, updates itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from gradloom.worker.assembly import inputs_of, target_of
from gradloom.worker.data.batches import Bounds, block_bounds, most_rows, place, shard_bounds
from gradloom.worker.data.prepared import Prepared
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.split import Rows
from gradloom.worker.engine.baseline import constant_loss
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.health import Health, is_due
from gradloom.worker.engine.joining import come_to_the_same, together
from gradloom.worker.engine.kernels.losses import FAST_RULES
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.kernels.optimizers import global_norm
from gradloom.worker.engine.metrics import Statistics, divisor, summarize
from gradloom.worker.engine.non_finite import NonFinite
from gradloom.worker.engine.observation import Moves, Observer
from gradloom.worker.engine.optimizers import clip_elements, clip_scale
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import DROPOUT, Key
from gradloom.worker.engine.schedules import learning_rate
from gradloom.worker.engine.shards import Shard
from gradloom.worker.engine.spec import ReduceOnPlateauSchedule
from gradloom.worker.exchange.star import Observed, Sum, added, merged, summed
from gradloom.worker.exchange.tree import Leaf, Node, cover, fold, registers, schedule
from gradloom.worker.messages import Task
from gradloom.worker.state import State, Vector


@dataclass(frozen=True, slots=True)
class Commit:
    """A step that is done: steps so far, means over its batch, norm before clipping, seconds.

    skipped are the newest steps in a row that changed nothing, as this one where it is not 0.
    health is what a look at the layers found, at steps that are looked at or are not finite.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    metrics: dict[str, float]
    seconds: float
    skipped: int = 0
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where a step was first not finite: a shard of the batch, and a layer's array in it.

    first_row and last_row are the shard's places in the batch. rows are the dataset's rows that
    are concerned, a few of them where there are many; none where it is not a matter of rows.
    """

    shard: int
    first_row: int
    last_row: int
    path: str
    what: str
    rows: tuple[int, ...]
    row_count: int


# Rows that are named where some are not finite.
_MOST_ROWS = 5

# The square of a larger number may be infinite in float32.
_LARGEST_NORM = 1e19

# Leaves that are computed together.
Group = tuple[Leaf, ...]


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
        self,
        task: Task,
        data: Prepared,
        clock: Callable[[], float] = perf_counter,
        begin: Callable[[Graph], Vector | None] = lambda _: None,
    ) -> None:
        """begin gives the parameters and buffers to begin from, those of the seed where None."""
        learning = task.learning
        self._task = task
        self._data = data
        self._clock = clock
        self._graph = build_graph(
            learning.model,
            learning.loss,
            inputs_of(learning.model, data.summary),
            target_of(data.summary),
        )
        evaluated = max(data.summary.validation_rows, data.summary.test_rows)
        self._plan = Plan(
            fuse(self._graph, FUSIONS),
            together(
                self._graph, task.batch_size, most_rows(task.batch_size, task.shards, evaluated)
            ),
            registers=registers(task.shards),
            operations=FAST,
            losses=FAST_RULES,
            clock=clock,
        )
        self._observer: Observer | None = None
        self._grouped: dict[tuple[int, int, int], tuple[Group, ...]] = {}
        self.state = State(self._graph, learning.optimizer, learning.seed, begin(self._graph))
        self.seconds = Seconds()

    @property
    def baseline(self) -> float | None:
        """The loss of the best answer to the training rows that looks at no input."""
        return constant_loss(
            self._task.learning.loss, self._data.training.target, self._graph.target
        )

    def compute(self, first: int, last: int) -> dict[Node, Sum]:
        """Roots of the shards first … last-1 of the batch that follows the state's step.

        Their gradients are the plan's own and last until the next call.
        """
        batch = place(self.state.step, self._data.training.rows, self._task.batch_size)
        rows = self._data.training.visited(batch.epoch, batch.first, batch.last)
        bounds = shard_bounds(len(rows), self._task.shards)
        leaves, roots = schedule(first, last, self._task.shards)
        self._plan.read(self.state.parameters)
        statistics: list[Statistics] = []
        for group in self._groups(leaves, bounds):
            begin, end = bounds[group[0].place][0], bounds[group[-1].place][1]
            self._fill(self._data.training, rows[begin:end], self._plan)
            statistics += self._train(group, bounds)
        looks = [
            self._look(rows, bounds, leaf.place, counted)
            for leaf, counted in zip(leaves, statistics, strict=True)
        ]
        return {
            node: Sum(
                self._plan.registers[register],
                fold(node, self._task.shards, lambda shard: statistics[shard - first], added),
                fold(node, self._task.shards, lambda shard: looks[shard - first], merged),
            )
            for node, register in roots.items()
        }

    def _look(
        self, rows: Rows, bounds: Bounds, shard: int, statistics: Statistics
    ) -> Observed | None:
        """What is seen of a shard, where it is time to look or its loss is not finite."""
        begin, end = bounds[shard]
        if begin == end or not (self._is_look_due or not math.isfinite(statistics[1])):
            return None
        plan = self._watched.plan
        plan.read(self.state.parameters)
        self._fill(self._data.training, rows[begin:end], plan)
        began = self._clock()
        seen = self._watched.look(end - begin, self._key(shard))
        self.seconds.add("forward", self._clock() - began)
        return seen

    @property
    def _is_look_due(self) -> bool:
        """Whether the step after the one stood at is looked at."""
        return is_due(self.state.step + 1, self._task.health_interval)

    @property
    def _watched(self) -> Observer:
        """Made when it is first needed: most jobs that are never looked at never need it."""
        if self._observer is None:
            rows = most_rows(self._task.batch_size, self._task.shards, 0)
            self._observer = Observer(self._graph, rows, FAST)
        return self._observer

    def _groups(self, leaves: tuple[Leaf, ...], bounds: Bounds) -> tuple[Group, ...]:
        """Leaves that are computed together: as many as the plan holds, or one by one."""
        key = (leaves[0].place, len(leaves), bounds[-1][1])
        if key not in self._grouped:
            self._grouped[key] = tuple(
                group
                for filled in _filled(leaves, bounds, self._plan.rows)
                for group in self._joined(filled, bounds)
            )
        return self._grouped[key]

    def _joined(self, group: Group, bounds: Bounds) -> Iterator[Group]:
        if len(group) == 1 or come_to_the_same(self._plan, _shards(group, bounds)):
            yield group
        else:
            yield from ((leaf,) for leaf in group)

    def _train(self, group: Group, bounds: Bounds) -> tuple[Statistics, ...]:
        keys = [self._key(leaf.place) for leaf in group]
        statistics = self._plan.train(_shards(group, bounds), keys)
        self.seconds.add("forward", self._plan.forward_seconds)
        self.seconds.add("backward", self._plan.backward_seconds)
        return statistics

    def _key(self, shard: int) -> Key:
        return Key(self._task.learning.seed, DROPOUT, self.state.step, shard)

    def _fill(self, reader: Reader, rows: Rows, plan: Plan) -> None:
        began = self._clock()
        if len(rows):
            reader.fill(rows, plan.all_inputs(len(rows)), plan.target(len(rows)))
        self.seconds.add("data", self._clock() - began)

    def advance(self, parts: Sequence[dict[Node, Sum]]) -> Commit:
        """Adds up the roots of all shards and makes the step; raises IncompleteTree."""
        began = self._clock()
        total = summed(parts, self._task.shards)
        rate = self._learning_rate()
        rows = divisor(total.statistics)
        norm = global_norm(total.gradient[: self._graph.parameter_count]) / rows
        metrics = summarize(self._task.learning.loss, total.statistics)
        # A batch of which no row counts loses nothing; its mean would be no number.
        loss = metrics["loss"] if total.statistics[0] else 0.0
        means = total.gradient[self._graph.parameter_count :]
        is_finite = all(map(math.isfinite, (loss, norm, global_norm(means))))
        is_finite = is_finite and self._can_be_squared(norm)
        is_whole, before = self._is_look_due, self.state.parameters
        moves = Moves(self._graph, total.gradient, rows) if is_whole or not is_finite else None
        if is_finite:
            self._update(total.gradient, rate, norm, rows)
        else:
            self.state.skip()
        after = self.state.parameters
        health = moves.health(total.observed, before, after, is_whole=is_whole) if moves else None
        seconds, skipped = self._clock() - began, self.state.counters.skipped
        return Commit(self.state.step, loss, rate, norm, metrics, seconds, skipped, health)

    def _can_be_squared(self, norm: float) -> bool:
        """Whether no square of an element can be infinite, which a slot would never get rid of."""
        optimizer = self._task.learning.optimizer
        is_clipped = optimizer.clip_norm is not None or optimizer.clip_value is not None
        return is_clipped or norm < _LARGEST_NORM

    def _update(self, total: Vector, rate: float, norm: float, rows: float) -> None:
        self._mean_buffers(total)
        gradient = total[: self._graph.parameter_count]
        before = self.state.counters
        self.state.advance(total, rate, self._scale(gradient, norm, rows))
        # An update that overflows shows in the next step's loss; after the last there is none.
        if self.state.step == self._task.learning.steps and not self.state.is_finite:
            self.state.take_back(before)

    def heed(self, measured: tuple[tuple[int, float], ...]) -> None:
        """Lets the schedule know of validation losses and their steps, where it looks at them."""
        schedule = self._task.learning.schedule
        if isinstance(schedule, ReduceOnPlateauSchedule):
            for step, loss in measured:
                self.state.measured(step, loss, schedule)

    def locate(self) -> Location | None:
        """Where the step stood at, which was skipped, was first not finite, shard after shard.

        None where every shard is finite and only their sum is not.
        """
        batch = place(self.state.step - 1, self._data.training.rows, self._task.batch_size)
        rows = self._data.training.visited(batch.epoch, batch.first, batch.last)
        self._plan.read(self.state.parameters)
        for shard, (first, last) in enumerate(shard_bounds(len(rows), self._task.shards)):
            found = self._located(shard, rows[first:last]) if last > first else None
            if found:
                bad = np.sort(self._data.training.numbers(rows[first:last][list(found.rows)]))
                few = tuple(map(int, bad[:_MOST_ROWS]))
                return Location(shard, first, last - 1, found.path, found.what, few, len(bad))
        return None

    def _located(self, shard: int, rows: Rows) -> NonFinite | None:
        self._fill(self._data.training, rows, self._plan)
        key = Key(self._task.learning.seed, DROPOUT, self.state.step - 1, shard)
        return self._plan.locate(len(rows), key)

    def _learning_rate(self) -> float:
        learning = self._task.learning
        base = learning.optimizer.kind.learning_rate * self._task.rate_factor
        reductions = self.state.counters.plateau.reductions
        return learning_rate(learning.schedule, base, self.state.step, learning.steps, reductions)

    def _mean_buffers(self, vector: Vector) -> None:
        """Makes the sums behind the gradient means over the rows of the batch."""
        batch = place(self.state.step, self._data.training.rows, self._task.batch_size)
        sums = vector[self._graph.parameter_count :]
        np.divide(sums, np.float32(batch.last - batch.first), out=sums)

    def _scale(self, gradient: Vector, norm: float, rows: float) -> float:
        """What makes the batch's clipped mean of the sum, whose elements are cut off here."""
        optimizer = self._task.learning.optimizer
        if optimizer.clip_value is not None:
            with np.errstate(all="ignore"):
                clip_elements(gradient, optimizer.clip_value * rows)
            norm = global_norm(gradient) / rows
        return clip_scale(norm, optimizer.clip_norm) / rows

    def evaluate(self, split: str, first: int, last: int) -> dict[Node, Statistics]:
        """Statistics of the blocks first … last-1 of a split, validation or test."""
        reader = self._reader(split)
        bounds = block_bounds(reader.rows)
        self._plan.read(self.state.weights)
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
        self._fill(reader, np.arange(first, last, dtype=np.int64), self._plan)
        began = self._clock()
        statistics = self._plan.evaluate(last - first)
        self.seconds.add("forward", self._clock() - began)
        return statistics


def _filled(leaves: tuple[Leaf, ...], bounds: Bounds, most_rows: int) -> Iterator[Group]:
    """Leaves in order, in groups of at most so many rows, or of one leaf."""
    group: Group = ()
    for leaf in leaves:
        if group and bounds[leaf.place][1] - bounds[group[0].place][0] > most_rows:
            yield group
            group = ()
        group = (*group, leaf)
    yield group


def _shards(group: Group, bounds: Bounds) -> tuple[Shard, ...]:
    return tuple(
        Shard(bounds[leaf.place][1] - bounds[leaf.place][0], leaf.register, leaf.merges)
        for leaf in group
    )
