"""A graph ready to run: every array allocated once, the walk forward and back.

The caller fills inputs and target, sets parameters, and reads gradients; the plan owns them all.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.binding import Bound, Memory, bind
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.layout import lay_out, needed_gradients, workspaces
from gradloom.worker.engine.loss import LossCall
from gradloom.worker.engine.losses import RULES, Rules, rule_of
from gradloom.worker.engine.metrics import Statistics, measures_of
from gradloom.worker.engine.non_finite import NonFinite, first_non_finite
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.shards import Shard
from gradloom.worker.engine.slots import Name, empty, view

Float = type[np.float32] | type[np.float64]


class TooManyRows(ValueError):
    """More rows asked of a plan than it has memory for; survives pickling."""

    def __init__(self, rows: int, most: int) -> None:
        super().__init__(rows, most)
        self.rows = rows
        self.most = most

    def __str__(self) -> str:
        return f"The plan is for at most {self.most} rows, not {self.rows}: make a larger plan."


class Plan:
    """Runs a graph on up to so many rows, those of one shard or of several.

    parameters is a flat vector of the graph's parameters and buffers, so is each of the registers
    that gradients are summed in. The seconds are those of the last training.
    """

    def __init__(
        self,
        graph: Graph,
        rows: int,
        dtype: Float = np.float32,
        *,
        registers: int = 1,
        input_gradient: bool = False,
        operations: Operations = OPERATIONS,
        losses: Rules = RULES,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.graph = graph
        self.rows = rows
        self.parameters: Array = np.zeros(graph.vector_size, dtype)
        self.registers: tuple[Array, ...] = tuple(np.zeros((registers, graph.vector_size), dtype))
        self.forward_seconds = 0.0
        self.backward_seconds = 0.0
        self._operations = operations
        self._clock = clock
        self._rules = rule_of(graph.loss, graph.target, losses)
        self._needed = needed_gradients(graph, input_gradient)
        self._memory = self._allocate(dtype)
        self._bindings: dict[tuple[int, tuple[Shard, ...]], tuple[Array, Bound]] = {}

    @property
    def gradient(self) -> Array:
        """The first register."""
        return self.registers[0]

    @property
    def begins(self) -> int:
        """What the first rows of shards that share calls have to be multiples of."""
        found = [
            self._operations[node.operation].begins for node in self.graph.nodes if node.inputs
        ]
        return max(found, default=1)

    def read(self, parameters: Array) -> None:
        """Compute with these parameters from now on: a flat vector that its owner may change."""
        self.parameters = parameters

    def forget(self, parameters: Array) -> None:
        """Lets go of parameters that will not be read again."""
        self._bindings = {
            key: (vector, bound)
            for key, (vector, bound) in self._bindings.items()
            if vector is not parameters
        }

    def write_to(self, registers: Sequence[Array]) -> None:
        """Sum gradients in these flat vectors from now on: as many as there were, or fewer.

        Those that are not given stay the plan's own.
        """
        self.registers = (*registers, *self.registers[len(registers) :])
        self._memory = replace(self._memory, registers=self.registers)
        self._bindings.clear()

    def inputs(self, rows: int) -> Array:
        """Where the caller puts this many rows of data, of the first input if there are several."""
        return self.all_inputs(rows)[0]

    def all_inputs(self, rows: int) -> tuple[Array, ...]:
        """Where the caller puts this many rows of each of graph.inputs."""
        count = self._checked(rows)
        return tuple(array[:count] for array in self._memory.inputs)

    def target(self, rows: int) -> Array:
        """Where the caller puts this many answers: int64 labels, or numbers of the plan's dtype."""
        return self._memory.target[: self._checked(rows)]

    def input_gradient(self, rows: int, place: int = 0) -> Array:
        """The gradient towards one of graph.inputs, of a plan that was asked for it."""
        memory, shape = self._memory.slots[Name("gradient", place)], self.graph.nodes[place].shape
        return view(memory, self._checked(rows), shape, self._memory.dtype)

    def value_and_grad(self, rows: int, key: Key) -> Statistics:
        """Train on the rows that were put in: statistics, and the summed gradient in gradient.

        The key says which dropout masks are drawn: seed, step and shard of it.
        """
        return self.train((Shard(rows),), (key,))[0]

    def train(self, shards: tuple[Shard, ...], keys: Sequence[Key]) -> tuple[Statistics, ...]:
        """Train on the rows that were put in, shard by shard.

        Gives the statistics of each shard, and sums of gradients in the registers.
        """
        bound = self._bound(shards)
        with np.errstate(all="ignore"):
            started = self._clock()
            self._run(bound, keys)
            turned = self._clock()
            statistics = tuple(map(self._trained, bound.losses))
            for function, arguments in bound.backward:
                function(*arguments)
            ended = self._clock()
        self.forward_seconds, self.backward_seconds = turned - started, ended - turned
        return statistics

    def train_unless(
        self, shard: Shard, key: Key, is_needless: Callable[[], bool]
    ) -> Statistics | None:
        """As train, of one shard, but asks before each operation whether it may be given up.

        None where it was; the shard's register then holds nothing.
        """
        bound = self._bound((shard,))
        (loss,) = bound.losses
        self.forward_seconds = self.backward_seconds = 0.0
        with np.errstate(all="ignore"):
            started = self._clock()
            for forward, call, _ in bound.forward:
                if is_needless():
                    return None
                forward(call, key)
            turned = self._clock()
            statistics = self._trained(loss)
            for function, arguments in bound.backward:
                if is_needless():
                    return None
                function(*arguments)
            ended = self._clock()
        self.forward_seconds, self.backward_seconds = turned - started, ended - turned
        return statistics

    def add(self, into: int, addend: int) -> None:
        """Adds one register to another."""
        with np.errstate(all="ignore"):
            np.add(self.registers[into], self.registers[addend], out=self.registers[into])

    def evaluate(self, rows: int, key: Key | None = None) -> Statistics:
        """Measure the rows that were put in; where a key is given, as training does and no more."""
        bound = self._bound((Shard(rows),))
        with np.errstate(all="ignore"):
            self._run(bound, (key,))
            (call,) = bound.losses
            statistics = self._rules.forward(call) if call else self._nothing()
            return statistics if key else (*statistics, *self._measured(call))

    def locate(self, rows: int, key: Key) -> NonFinite | None:
        """Where training on the rows that were put in first comes to no finite number."""
        bound = self._bound((Shard(rows),))
        return first_non_finite(self.graph, self._operations, self._rules, bound, key)

    def predict(self, rows: int) -> Array:
        """The model's output for the rows that were put in; valid until the next call."""
        bound = self._bound((Shard(rows),))
        with np.errstate(all="ignore"):
            self._run(bound, (None,))
        return bound.output

    def watch(self, rows: int, key: Key, see: Callable[[int, Array], None]) -> None:
        """Run forward as in training, and show each node's number and output while it stands."""
        bound = self._bound((Shard(rows),))
        with np.errstate(all="ignore"):
            for number, array in enumerate(self.all_inputs(rows)):
                see(number, array)
            for forward, call, _ in bound.forward:
                forward(call, key)
                see(call.number, call.output)

    def _run(self, bound: Bound, keys: Sequence[Key | None]) -> None:
        for forward, call, shard in bound.forward:
            forward(call, keys[shard])

    def _trained(self, call: LossCall[Any] | None) -> Statistics:
        """The loss and its gradient, one after the other: shards take turns in scratch memory."""
        if call is None:
            return self._nothing()
        statistics = self._rules.forward(call)
        self._rules.vjp(call)
        return statistics

    def _measured(self, call: LossCall[Any] | None) -> Statistics:
        """What an evaluation counts besides."""
        if call is None or self._rules.measure is None:
            return (0.0,) * measures_of(self.graph.loss, self.graph.target)
        return self._rules.measure(call)

    def _nothing(self) -> Statistics:
        return (0.0,) * len(self.graph.statistics)

    def _bound(self, shards: tuple[Shard, ...]) -> Bound:
        self._checked(sum(shard.rows for shard in shards))
        key = (id(self.parameters), shards)
        if key not in self._bindings:
            bound = bind(
                self.graph, self._operations, self._memory, self.parameters, self._needed, shards
            )
            self._bindings[key] = (self.parameters, bound)  # holds the vector, so its id is taken
        return self._bindings[key][1]

    def _checked(self, rows: int) -> int:
        if rows > self.rows:
            raise TooManyRows(rows, self.rows)
        return rows

    def _allocate(self, dtype: Float) -> Memory:
        layout = lay_out(self.graph, self._operations, dtype, self._needed)
        slots = [empty(self.rows, row_bytes) for row_bytes in layout.row_bytes]
        return Memory(
            slots={name: slots[slot] for name, slot in layout.slots.items()},
            workspaces={
                place: empty(1, size)
                for place, size in workspaces(self.graph, self._operations, dtype).items()
            },
            dtype=dtype,
            inputs=tuple(np.zeros((self.rows, *node.shape), dtype) for node in self.graph.inputs),
            target=_target(self.graph, self.rows, dtype),
            registers=self.registers,
        )


def _target(graph: Graph, rows: int, dtype: Float) -> Array:
    labels = graph.target.kind == "labels"
    return np.zeros((rows, *graph.target.shape), np.int64 if labels else dtype)
