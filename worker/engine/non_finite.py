"""Where a walk forward and back first comes to a number that is infinite or not a number.

Only walked when a step has come to one: it looks at every array that an operation has written.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.binding import Bound, Instruction
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.loss import LossCall, LossRule
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.operations import Operations
from gradloom.worker.engine.random import Key


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The path of a layer, which of its arrays it is, and the rows of it that are not finite.

    rows are places among the rows that were walked; none where it has no rows.
    """

    path: str
    what: str
    rows: tuple[int, ...] = ()


def first_non_finite(
    graph: Graph, operations: Operations, loss: LossRule[Any], bound: Bound, key: Key
) -> NonFinite | None:
    """The first of a walk over one shard in the order of computing; None where all is finite."""
    with np.errstate(all="ignore"):
        walk = _Walk(graph, operations, loss, bound, key)
        return next(walk.found(), None)


@dataclass(frozen=True, slots=True)
class _Walk:
    graph: Graph
    operations: Operations
    loss: LossRule[Any]
    bound: Bound
    key: Key

    def found(self) -> Iterator[NonFinite]:
        """All there is; each step is taken when the one before has been looked at."""
        yield from self._forward()
        for call in self.bound.losses:
            if call is not None:
                yield from self._loss(call)
        for instruction in self.bound.backward:
            yield from self._backward(instruction)

    def _forward(self) -> Iterator[NonFinite]:
        for forward, call, _ in self.bound.forward:
            if not all(map(_is_finite, call.parameters)):
                yield NonFinite(self._path(call), "weights")
            for rows in filter(None, map(_rows, call.inputs)):
                yield NonFinite(self._path(call), "input", rows)
            forward(call, self.key)
            if rows := _rows(call.output):
                yield NonFinite(self._path(call), "output", rows)

    def _loss(self, call: LossCall[Any]) -> Iterator[NonFinite]:
        statistics = self.loss.forward(call)
        self.loss.vjp(call)
        rows = _rows(call.output_gradient)
        if not all(map(math.isfinite, statistics)):
            yield NonFinite("loss", "value", rows)
        if rows:
            yield NonFinite("loss", "gradient", rows)

    def _backward(self, instruction: Instruction) -> Iterator[NonFinite]:
        function, arguments = instruction
        function(*arguments)
        call = arguments[0]
        if not isinstance(call, Call):
            return
        rules = self.operations[self._operation(call)]
        towards_parameters = not rules.rowwise or function is rules.vjp_parameters
        if towards_parameters and not all(map(_is_finite, call.parameter_gradients)):
            yield NonFinite(self._path(call), "gradient of the weights")
        if function is rules.vjp:
            for gradient in call.input_gradients:
                if gradient is not None and (rows := _rows(gradient)):
                    yield NonFinite(self._path(call), "gradient of the input", rows)

    def _path(self, call: Call[Any]) -> str:
        return next(node.path for node in self.graph.nodes if node.number == call.number)

    def _operation(self, call: Call[Any]) -> str:
        return next(node.operation for node in self.graph.nodes if node.number == call.number)


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _rows(array: Array) -> tuple[int, ...]:
    """The rows of an array that are not finite."""
    if array.size == 0:
        return ()
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return tuple(int(row) for row in np.flatnonzero(bad))
