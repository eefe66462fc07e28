"""A graph's operations bound to arrays of one number of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape, size
from gradloom.worker.engine.graph import Graph, Node
from gradloom.worker.engine.layout import Edge, gradient_edges
from gradloom.worker.engine.loss import LossCall
from gradloom.worker.engine.losses import RULES
from gradloom.worker.engine.operation import Call, Operation
from gradloom.worker.engine.operations import Operations
from gradloom.worker.engine.slots import Name, view

_NOTHING: Array = np.empty(0)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the walk; sums are (total, addend) of gradients to add after its vjp."""

    # Any: each row of the table takes its own layer's description.
    operation: Operation[Any]
    call: Call[Any]
    sums: tuple[tuple[Array, Array], ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """The walk for one number of rows: all steps forward, the loss, trained steps backward."""

    forward: tuple[Step, ...]
    loss: LossCall[Any]
    backward: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What a plan owns: slots by array name, input, target, and the parameters' views.

    workspaces are the scratch arrays that do not grow with the rows, by their place.
    """

    slots: Mapping[Name, Array]
    workspaces: Mapping[int, Array]
    dtype: type[np.generic]
    inputs: Array
    target: Array
    parameters: Mapping[str, Array]
    gradients: Mapping[str, Array]


def bind(
    graph: Graph, operations: Operations, memory: Memory, needed: frozenset[int], rows: int
) -> Bound:
    """All calls of a step over so many rows, as views of the plan's memory."""
    views = _Views(graph, memory, rows)
    edges = gradient_edges(graph, needed)
    steps = {
        index: _step(views, operations[node.operation], index, node, edges[index])
        for index, node in enumerate(graph.nodes)
        if node.inputs
    }
    trained = [index for index in reversed(steps) if index in needed]
    return Bound(
        forward=tuple(steps.values()),
        loss=views.loss(),
        backward=tuple(steps[index] for index in trained),
    )


def _step(
    views: "_Views",
    operation: Operation[Any],
    index: int,
    node: Node,
    edges: tuple[Edge | None, ...],
) -> Step:
    call = views.call(operation, index, node, edges)
    sums = tuple(
        (views.gradient(edge.source), views.addend(index, place))
        for place, edge in enumerate(edges)
        if edge is not None and not edge.is_first
    )
    return Step(operation, call, sums)


class _Views:
    """Arrays of so many rows by what they are for."""

    def __init__(self, graph: Graph, memory: Memory, rows: int) -> None:
        self._graph = graph
        self._memory = memory
        self._rows = rows

    def call(
        self, operation: Operation[Any], index: int, node: Node, edges: tuple[Edge | None, ...]
    ) -> Call[Any]:
        shapes = self._graph.input_shapes(node)
        names = [parameter.name for parameter in node.parameters]
        return Call(
            number=index,
            layer=node.layer,
            inputs=tuple(map(self.output, node.inputs)),
            output=self.output(index),
            parameters=tuple(self._memory.parameters[name] for name in names),
            saved=self._buffers("saved", index, operation.saved(node.layer, shapes)),
            scratch=self._buffers("scratch", 0, operation.scratch(node.layer, shapes)),
            output_gradient=self.gradient(index),
            input_gradients=tuple(
                self._towards(index, place, edge) for place, edge in enumerate(edges)
            ),
            parameter_gradients=tuple(self._memory.gradients[name] for name in names),
        )

    def loss(self) -> LossCall[Any]:
        last = len(self._graph.nodes) - 1
        outputs = size(self._graph.output_shape)
        scratch = RULES[type(self._graph.loss)].scratch(outputs)
        return LossCall(
            loss=self._graph.loss,
            row_numbers=np.arange(self._rows),
            output=self.output(last),
            target=self._memory.target[: self._rows],
            scratch=self._buffers("scratch", 0, scratch),
            output_gradient=self.gradient(last),
        )

    def output(self, index: int) -> Array:
        if not self._graph.nodes[index].inputs:
            return self._memory.inputs[: self._rows]
        return self._array(Name("output", index), self._graph.nodes[index].shape)

    def gradient(self, index: int) -> Array:
        name = Name("gradient", index)
        if name not in self._memory.slots:
            return _NOTHING
        return self._array(name, self._graph.nodes[index].shape)

    def addend(self, index: int, place: int) -> Array:
        source = self._graph.nodes[index].inputs[place]
        return self._array(Name("addend", index, place), self._graph.nodes[source].shape)

    def _towards(self, index: int, place: int, edge: Edge | None) -> Array | None:
        if edge is None:
            return None
        return self.gradient(edge.source) if edge.is_first else self.addend(index, place)

    def _buffers(
        self, kind: Literal["saved", "scratch"], node: int, buffers: tuple[Buffer, ...]
    ) -> tuple[Array, ...]:
        return tuple(
            self._array(Name(kind, node, place), buffer.shape, buffer.dtype)
            if buffer.per_row
            else self._whole(kind, place, buffer)
            for place, buffer in enumerate(buffers)
        )

    def _whole(self, kind: Literal["saved", "scratch"], place: int, buffer: Buffer) -> Array:
        dtype = buffer.dtype or self._memory.dtype
        if kind == "saved":
            return np.zeros(buffer.shape, dtype)
        whole: Array = view(self._memory.workspaces[place], 1, buffer.shape, dtype)[0]
        return whole

    def _array(self, name: Name, shape: Shape, dtype: type[np.generic] | None = None) -> Array:
        return view(self._memory.slots[name], self._rows, shape, dtype or self._memory.dtype)
