"""A graph ready to run: every array allocated once, the walk forward and back.

The caller fills inputs and target, sets parameters, and reads gradient; the plan owns them all.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.binding import Bound, Memory, bind
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.layout import lay_out, needed_gradients, workspaces
from gradloom.worker.engine.losses import RULES
from gradloom.worker.engine.metrics import Statistics
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.random import Key
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
    """Runs a graph on up to so many rows.

    parameters and gradient are flat vectors in the order of graph.parameters. The seconds are
    those of the last value_and_grad.
    """

    def __init__(
        self,
        graph: Graph,
        rows: int,
        dtype: Float = np.float32,
        *,
        input_gradient: bool = False,
        operations: Operations = OPERATIONS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.graph = graph
        self.rows = rows
        self.parameters: Array = np.zeros(graph.parameter_count, dtype)
        self.gradient: Array = np.zeros(graph.parameter_count, dtype)
        self.forward_seconds = 0.0
        self.backward_seconds = 0.0
        self._operations = operations
        self._clock = clock
        self._rules = RULES[type(graph.loss)]
        self._needed = needed_gradients(graph, input_gradient)
        self._memory = self._allocate(dtype)
        self._bindings: dict[int, Bound] = {}

    def inputs(self, rows: int) -> Array:
        """Where the caller puts this many rows of data."""
        return self._memory.inputs[: self._checked(rows)]

    def target(self, rows: int) -> Array:
        """Where the caller puts this many answers: int64 labels, or numbers of the plan's dtype."""
        return self._memory.target[: self._checked(rows)]

    def input_gradient(self, rows: int) -> Array:
        """The gradient towards the inputs, of a plan that was asked for it."""
        memory = self._memory.slots[Name("gradient", 0)]
        return view(memory, self._checked(rows), self.graph.input_shape, self._memory.dtype)

    def value_and_grad(self, rows: int, key: Key) -> Statistics:
        """Train on the rows that were put in: statistics, and the summed gradient in gradient.

        The key says which dropout masks are drawn: seed, step and shard of it.
        """
        if rows == 0:
            self.gradient.fill(0)
            return self._nothing()
        bound = self._bound(rows)
        with np.errstate(all="ignore"):
            started = self._clock()
            statistics = self._forward(bound, key)
            turned = self._clock()
            self._backward(bound)
            ended = self._clock()
        self.forward_seconds, self.backward_seconds = turned - started, ended - turned
        return statistics

    def evaluate(self, rows: int, key: Key | None = None) -> Statistics:
        """Measure the rows that were put in, as in training where a key is given."""
        if rows == 0:
            return self._nothing()
        with np.errstate(all="ignore"):
            return self._forward(self._bound(rows), key)

    def predict(self, rows: int) -> Array:
        """The model's output for the rows that were put in; valid until the next call."""
        bound = self._bound(rows)
        with np.errstate(all="ignore"):
            self._run(bound, None)
        return bound.loss.output

    def _run(self, bound: Bound, key: Key | None) -> None:
        for step in bound.forward:
            step.operation.forward(step.call, key)

    def _forward(self, bound: Bound, key: Key | None) -> Statistics:
        self._run(bound, key)
        return self._rules.forward(bound.loss)

    def _backward(self, bound: Bound) -> None:
        self._rules.vjp(bound.loss)
        for step in bound.backward:
            step.operation.vjp(step.call)
            for total, addend in step.sums:
                np.add(total, addend, out=total)

    def _nothing(self) -> Statistics:
        return (0.0,) * len(self.graph.statistics)

    def _bound(self, rows: int) -> Bound:
        if rows not in self._bindings:
            self._bindings[rows] = bind(
                self.graph, self._operations, self._memory, self._needed, self._checked(rows)
            )
        return self._bindings[rows]

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
            inputs=np.zeros((self.rows, *self.graph.input_shape), dtype),
            target=_target(self.graph, self.rows, dtype),
            parameters=_views(self.graph, self.parameters),
            gradients=_views(self.graph, self.gradient),
        )


def _target(graph: Graph, rows: int, dtype: Float) -> Array:
    if graph.target.kind == "labels":
        return np.zeros(rows, np.int64)
    return np.zeros((rows, *graph.target.shape), dtype)


def _views(graph: Graph, vector: Array) -> Mapping[str, Array]:
    return {
        parameter.name: vector[parameter.place].reshape(parameter.shape)
        for parameter in graph.parameters
    }
