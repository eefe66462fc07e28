"""One copy of the model: stands at a step, computes shards of the batch that follows, evaluates."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np

from gradloom.worker.aid import Aid
from gradloom.worker.assembly import inputs_of, target_of
from gradloom.worker.data.batches import Bounds, block_bounds, most_rows, place, shard_bounds
from gradloom.worker.data.prepared import Prepared
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.split import Rows
from gradloom.worker.engine.baseline import constant_loss
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.health import is_due
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.joining import come_to_the_same, together
from gradloom.worker.engine.kernels.losses import FAST_RULES
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.metrics import Statistics
from gradloom.worker.engine.non_finite import NonFinite
from gradloom.worker.engine.observation import Observer
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import DROPOUT, Key
from gradloom.worker.engine.schedules import learning_rate
from gradloom.worker.engine.shards import Shard
from gradloom.worker.engine.spec import ReduceOnPlateauSchedule
from gradloom.worker.exchange.exchange import Layout
from gradloom.worker.exchange.notes import Observed, Seen, added, merged
from gradloom.worker.exchange.tree import Leaf, Node, cover, fold, registers, schedule
from gradloom.worker.faults import Point, reached
from gradloom.worker.fingerprint import fingerprint
from gradloom.worker.messages import Task
from gradloom.worker.state import BadState, State, Vector, rehearse_update, vector_count


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
# A rehearsal takes numbers as they come, no zeros: to draw as many at random takes longer than it.
_ANY = 0.01

# Leaves that are computed together.
Group = tuple[Leaf, ...]


PHASES = ("data", "forward", "backward", "exchange", "update")


class Seconds:
    """Seconds by phase since they were last taken."""

    def __init__(self) -> None:
        self._spent = dict.fromkeys(PHASES, 0.0)

    def add(self, phase: str, seconds: float) -> None:
        """Adds to a phase."""
        self._spent[phase] += seconds

    def take(self) -> dict[str, float]:
        """What was spent; the count begins anew."""
        spent, self._spent = self._spent, dict.fromkeys(self._spent, 0.0)
        return spent


class Replica:
    """Computes any shard of a job, and holds the job's whole state once it has entered a formation.

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
        self.task = task
        self._data = data
        self._clock = clock
        self.graph = build_graph(
            learning.model,
            learning.loss,
            inputs_of(learning.model, data.summary),
            target_of(data.summary),
        )
        evaluated = max(data.summary.validation_rows, data.summary.test_rows)
        self._plan = Plan(
            fuse(self.graph, FUSIONS),
            together(
                self.graph, task.batch_size, most_rows(task.batch_size, task.shards, evaluated)
            ),
            registers=registers(task.shards),
            operations=FAST,
            losses=FAST_RULES,
            clock=clock,
        )
        self._observer: Observer | None = None
        self._grouped: dict[tuple[int, int, int], tuple[Group, ...]] = {}
        self._spare = 0
        self._initial = begin(self.graph)
        self._state: State | None = None
        self.seconds = Seconds()

    @property
    def layout(self) -> Layout:
        """The memory that a formation of this job's workers shares."""
        return Layout(
            self.graph.vector_size,
            vector_count(self.task.learning.optimizer),
            self.task.shards,
            len(self.graph.statistics),
        )

    @property
    def state(self) -> State:
        """The job's state; raises BadState before there is one."""
        if self._state is None:
            raise BadState("the worker has not entered a formation yet")
        return self._state

    @property
    def stands(self) -> bool:
        """Whether it has a state that stands at a step."""
        return self._state is not None and self._state.stands

    def share(self, vectors: tuple[Vector, ...]) -> None:
        """Has its state in vectors that are filled; it stands where it stood, or as adopt says."""
        before = self._state
        self._state = self._in(vectors)
        if before is not None and before.stands:
            self._state.adopt(before.standings())

    def _in(self, vectors: tuple[Vector, ...]) -> State:
        learning = self.task.learning
        return State(self.graph, learning.optimizer, learning.seed, vectors=vectors)

    def keep(self, vectors: tuple[Vector, ...], content: bytes | None, step: int) -> None:
        """Fills these vectors with its state from now on.

        That is a snapshot's where one is given, else the one it had at this step, else that of
        step 0.
        """
        before, self._state = self._state, self._in(vectors)
        if content is not None:
            self.state.restore(content)
        elif before is not None and before.stands:
            before.stand_at(step)
            self.state.copy(before)
        else:
            begin = self._initial
            self.state.begin(
                initial_parameters(self.graph, self.task.learning.seed) if begin is None else begin
            )

    def write_to(self, registers: tuple[Vector, ...], spares: tuple[Vector, ...] = ()) -> None:
        """Puts the roots of its shards there, in their order; in a spare one another's shard."""
        self._plan.write_to((*registers, *spares))
        self._spare = len(registers)

    def rehearse(self) -> None:
        """Computes what a step takes on a few rows, so that no kernel is loaded while others wait.

        Changes nothing but working memory.
        """
        rows = np.arange(min(2, self._data.training.rows), dtype=np.int64)
        parameters = np.full(self.graph.vector_size, _ANY, np.float32)
        self._plan.read(parameters)
        self._fill(self._data.training, rows, self._plan)
        self._plan.train((Shard(len(rows)),), (Key(0, DROPOUT, 0, 0),))
        self._plan.forget(parameters)
        rehearse_update(self.task.learning.optimizer)
        self.seconds.take()

    @property
    def baseline(self) -> float | None:
        """The loss of the best answer to the training rows that looks at no input."""
        return constant_loss(self.task.learning.loss, self._data.training.target, self.graph.target)

    @property
    def batch_rows(self) -> int:
        """Rows of the batch that follows the state's step."""
        batch = place(self.state.step, self._data.training.rows, self.task.batch_size)
        return batch.last - batch.first

    def compute(self, first: int, last: int, aid: Aid | None = None) -> dict[Node, Seen]:
        """Roots of the shards first … last-1 of the batch that follows the state's step.

        Their gradients stand in the registers given to share, in the order of the roots, until
        the next call. No shards have no roots. aid is given where others may be faster.
        """
        if first == last:
            return {}
        rows, bounds = self._batch()
        leaves, roots = schedule(first, last, self.task.shards)
        self._plan.read(self.state.parameters)
        statistics: list[Statistics] = []
        if aid:
            statistics += [self._shard(leaf, rows, bounds, aid) for leaf in leaves]
        else:
            for group in self._groups(leaves, bounds):
                statistics += self._train(group, rows, bounds)
        looks = [
            self._look(rows, bounds, leaf.place, counted)
            for leaf, counted in zip(leaves, statistics, strict=True)
        ]
        return {
            node: Seen(
                fold(node, self.task.shards, lambda shard: statistics[shard - first], added),
                fold(node, self.task.shards, lambda shard: looks[shard - first], merged),
            )
            for node in roots
        }

    def _batch(self) -> tuple[Rows, Bounds]:
        """The rows of the batch that follows the state's step, and where its shards begin."""
        batch = place(self.state.step, self._data.training.rows, self.task.batch_size)
        rows = self._data.training.visited(batch.epoch, batch.first, batch.last)
        return rows, shard_bounds(len(rows), self.task.shards)

    def _shard(self, leaf: Leaf, rows: Rows, bounds: Bounds, aid: Aid) -> Statistics:
        """One shard, by this replica or by who was faster, and the additions that follow.

        They come after the shard, of which a part may have been computed in vain.
        """
        statistics = self._unless_done(leaf.place, leaf.register, rows, bounds, aid)
        if statistics is None:
            gradient, statistics = aid.found(leaf.place)
            np.copyto(self._plan.registers[leaf.register], gradient)
        for into, addend in leaf.merges:
            self._plan.add(into, addend)
        return statistics

    def _unless_done(
        self, shard: int, register: int, rows: Rows, bounds: Bounds, aid: Aid
    ) -> Statistics | None:
        """One shard by itself; None where another member has done it."""
        if aid.is_done(shard):
            return None
        aid.begin(shard)
        begin, end = bounds[shard]
        self._fill(self._data.training, rows[begin:end], self._plan)
        reached(Point.SHARD_FORWARD, step=self.state.step, shard=shard)
        statistics = self._plan.train_unless(
            Shard(end - begin, register), self._key(shard), partial(aid.is_done, shard)
        )
        self._count_seconds()
        if statistics is None:
            aid.give_up()
        else:
            aid.finish(shard, statistics)
        return statistics

    def help(self, aid: Aid) -> None:
        """Computes one shard of a slow member, into the spare register, where one is wanted.

        The roots of compute stand. Another shard takes its turn where the owner was faster.
        """
        while (shard := aid.wanted()) is not None:
            self._plan.read(self.state.parameters)
            if self._unless_done(shard, self._spare, *self._batch(), aid) is not None:
                return

    def digest(self, shard: int) -> str:
        """The hash of what a shard of the batch that follows comes to: gradient and statistics.

        Overwrites what compute left in the registers.
        """
        leaves, _ = schedule(shard, shard + 1, self.task.shards)
        self._plan.read(self.state.parameters)
        (counted,) = self._train(leaves, *self._batch())
        statistics = np.array(counted, np.float64)
        gradient = self._plan.registers[0]
        return fingerprint(gradient) + fingerprint(statistics.view(np.float32))

    def _look(
        self, rows: Rows, bounds: Bounds, shard: int, statistics: Statistics
    ) -> Observed | None:
        """What is seen of a shard, where it is time to look or its loss is not finite."""
        begin, end = bounds[shard]
        if begin == end or not (self.is_look_due or not math.isfinite(statistics[1])):
            return None
        plan = self._watched.plan
        plan.read(self.state.parameters)
        self._fill(self._data.training, rows[begin:end], plan)
        began = self._clock()
        seen = self._watched.look(end - begin, self._key(shard))
        self.seconds.add("forward", self._clock() - began)
        return seen

    @property
    def is_look_due(self) -> bool:
        """Whether the step after the one stood at is looked at."""
        return is_due(self.state.step + 1, self.task.health_interval)

    @property
    def _watched(self) -> Observer:
        """Made when it is first needed: most jobs that are never looked at never need it."""
        if self._observer is None:
            rows = most_rows(self.task.batch_size, self.task.shards, 0)
            self._observer = Observer(self.graph, rows, FAST)
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

    def _train(self, group: Group, rows: Rows, bounds: Bounds) -> tuple[Statistics, ...]:
        begin, end = bounds[group[0].place][0], bounds[group[-1].place][1]
        self._fill(self._data.training, rows[begin:end], self._plan)
        keys = [self._key(leaf.place) for leaf in group]
        for leaf in group:
            reached(Point.SHARD_FORWARD, step=self.state.step, shard=leaf.place)
        statistics = self._plan.train(_shards(group, bounds), keys)
        for leaf in group:
            gradient = self._plan.registers[leaf.register].data
            reached(Point.SHARD_BACKWARD, gradient, step=self.state.step, shard=leaf.place)
        self._count_seconds()
        return statistics

    def _count_seconds(self) -> None:
        self.seconds.add("forward", self._plan.forward_seconds)
        self.seconds.add("backward", self._plan.backward_seconds)

    def _key(self, shard: int) -> Key:
        return Key(self.task.learning.seed, DROPOUT, self.state.step, shard)

    def _fill(self, reader: Reader, rows: Rows, plan: Plan) -> None:
        began = self._clock()
        if len(rows):
            reader.fill(rows, plan.all_inputs(len(rows)), plan.target(len(rows)))
        self.seconds.add("data", self._clock() - began)

    def heed(self, measured: tuple[tuple[int, float], ...]) -> None:
        """Lets the schedule know of validation losses and their steps, where it looks at them."""
        schedule = self.task.learning.schedule
        if isinstance(schedule, ReduceOnPlateauSchedule):
            for step, loss in measured:
                self.state.measured(step, loss, schedule)

    def locate(self) -> Location | None:
        """Where the step stood at, which was skipped, was first not finite, shard after shard.

        None where every shard is finite and only their sum is not.
        """
        batch = place(self.state.step - 1, self._data.training.rows, self.task.batch_size)
        rows = self._data.training.visited(batch.epoch, batch.first, batch.last)
        self._plan.read(self.state.parameters)
        for shard, (first, last) in enumerate(shard_bounds(len(rows), self.task.shards)):
            found = self._located(shard, rows[first:last]) if last > first else None
            if found:
                bad = np.sort(self._data.training.numbers(rows[first:last][list(found.rows)]))
                few = tuple(map(int, bad[:_MOST_ROWS]))
                return Location(shard, first, last - 1, found.path, found.what, few, len(bad))
        return None

    def _located(self, shard: int, rows: Rows) -> NonFinite | None:
        self._fill(self._data.training, rows, self._plan)
        key = Key(self.task.learning.seed, DROPOUT, self.state.step - 1, shard)
        return self._plan.locate(len(rows), key)

    @property
    def learning_rate(self) -> float:
        """That of the step after the one stood at."""
        learning = self.task.learning
        base = learning.optimizer.kind.learning_rate * self.task.rate_factor
        reductions = self.state.counters.plateau.reductions
        return learning_rate(learning.schedule, base, self.state.step, learning.steps, reductions)

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
