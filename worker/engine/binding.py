"""A graph's operations bound to arrays: what is done to which rows, in order.

Shards whose operation treats every row by itself run together, the others one after the other.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gradloom.worker.engine import arrays
from gradloom.worker.engine.arrays import Array, Shape, size
from gradloom.worker.engine.graph import Buffer, Graph, Node, Parameter
from gradloom.worker.engine.layout import Edge, gradient_edges
from gradloom.worker.engine.loss import LossCall
from gradloom.worker.engine.losses import rule_of
from gradloom.worker.engine.operation import Call, Forward, Operation
from gradloom.worker.engine.operations import Operations
from gradloom.worker.engine.shards import Shard, Span, spans
from gradloom.worker.engine.slots import Name, view

_NOTHING: Array = np.empty(0)

# A function and what it is called with.
Instruction = tuple[Callable[..., object], tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Bound:
    """The walk over some shards: all operations forward, each shard's loss, then backward.

    A forward call comes with the place of the shard whose key it draws from.
    """

    # Any: each row of the table takes its own layer's description.
    forward: tuple[tuple[Forward[Any], Call[Any], int], ...]
    losses: tuple[LossCall[Any] | None, ...]
    backward: tuple[Instruction, ...]
    output: Array


@dataclass(frozen=True, slots=True)
class Memory:
    """What a plan owns: slots by array name, inputs, target, and the parameters' views.

    workspaces are the scratch arrays that do not grow with the rows, by their place; registers
    are flat gradients.
    """

    slots: Mapping[Name, Array]
    workspaces: Mapping[int, Array]
    dtype: type[np.generic]
    inputs: tuple[Array, ...]
    target: Array
    registers: tuple[Array, ...]


def bind(
    graph: Graph,
    operations: Operations,
    memory: Memory,
    parameters: Array,
    needed: frozenset[int],
    shards: tuple[Shard, ...],
) -> Bound:
    """All calls of a step over these shards, as views of the plan's memory."""
    return _Binder(graph, operations, memory, parameters, needed, shards).bound()


class _Binder:
    """The calls of one graph over some shards, node by node."""

    def __init__(
        self,
        graph: Graph,
        operations: Operations,
        memory: Memory,
        parameters: Array,
        needed: frozenset[int],
        shards: tuple[Shard, ...],
    ) -> None:
        self._graph = graph
        self._operations = operations
        self._memory = memory
        self._needed = needed
        self._shards = shards
        self._spans = spans(shards)
        self._whole = Span(0, self._spans[-1].last)
        self._edges = gradient_edges(graph, needed)
        self._views = _Views(graph, memory, parameters, self._edges)

    def bound(self) -> Bound:
        calls = {
            index: tuple(self._calls(index))
            for index, node in enumerate(self._graph.nodes)
            if node.inputs
        }
        return Bound(
            forward=tuple(
                (self._rules(index).forward, call, shard)
                for index, found in calls.items()
                for shard, call in found
            ),
            losses=tuple(self._views.loss(span) if span.rows else None for span in self._spans),
            backward=tuple(
                instruction
                for index in reversed(calls)
                if index in self._needed
                for instruction in self._backward(index, dict(calls[index]))
            ),
            output=self._views.output(len(self._graph.nodes) - 1, self._whole),
        )

    def _rules(self, index: int) -> Operation[Any]:
        return self._operations[self._graph.nodes[index].operation]

    def _calls(self, index: int) -> Iterator[tuple[int, Call[Any]]]:
        """The shard's place and its call; one call for all shards where they run together."""
        rules = self._rules(index)
        if rules.rowwise:
            if self._whole.rows:
                yield 0, self._views.call(rules, index, self._whole, 0)
            return
        for shard, span in enumerate(self._spans):
            if span.rows:
                yield shard, self._views.call(rules, index, span, self._shards[shard].register)

    def _backward(self, index: int, calls: Mapping[int, Call[Any]]) -> Iterator[Instruction]:
        rules = self._rules(index)
        if rules.rowwise:
            yield from self._parameters_apart(index, rules)
            yield from ((rules.vjp, (call,)) for call in calls.values())
        else:
            for shard in range(len(self._shards)):
                if shard in calls:
                    yield rules.vjp, (calls[shard],)
                yield from self._merged(index, shard, self._shards[shard].merges)
        yield from self._sums(index)

    def _parameters_apart(self, index: int, rules: Operation[Any]) -> Iterator[Instruction]:
        if rules.vjp_parameters is None:
            return
        parameters = self._graph.nodes[index].parameters
        for place, (shard, span) in enumerate(zip(self._shards, self._spans, strict=True)):
            merges = shard.merges
            if span.rows:
                call = self._views.call(rules, index, span, shard.register)
                if rules.adds and merges and merges[0][1] == shard.register:
                    total = self._memory.registers[merges[0][0]]
                    yield rules.adds, (call, _parts(parameters, total))
                    merges = merges[1:]
                else:
                    yield rules.vjp_parameters, (call,)
            yield from self._merged(index, place, merges)

    def _merged(
        self, index: int, shard: int, merges: tuple[tuple[int, int], ...]
    ) -> Iterator[Instruction]:
        """The node's part of the gradient: nothing without rows, then added to others."""
        for place in _runs(self._graph.nodes[index]):
            registers = [register[place] for register in self._memory.registers]
            if not self._spans[shard].rows:
                yield registers[self._shards[shard].register].fill, (0,)
            for into, addend in merges:
                yield np.add, (registers[into], registers[addend], registers[into])

    def _sums(self, index: int) -> Iterator[Instruction]:
        """Second gradients towards a node, added to the first."""
        for place, edge in enumerate(self._edges[index]):
            if edge is not None and not edge.is_first:
                total = self._views.gradient(edge.source, self._whole)
                yield np.add, (total, self._views.addend(index, place, self._whole), total)


class _Views:
    """Arrays of some rows by what they are for."""

    def __init__(
        self,
        graph: Graph,
        memory: Memory,
        parameters: Array,
        edges: tuple[tuple[Edge | None, ...], ...],
    ) -> None:
        self._graph = graph
        self._memory = memory
        self._parameters = parameters
        self._edges = edges

    def call(self, rules: Operation[Any], index: int, span: Span, register: int) -> Call[Any]:
        node = self._graph.nodes[index]
        shapes = self._graph.input_shapes(node)
        return Call(
            number=node.number,
            layer=node.layer,
            inputs=tuple(self.output(source, span) for source in node.inputs),
            output=self.output(index, span),
            parameters=_parts(node.parameters, self._parameters),
            saved=self._buffers("saved", index, rules.saved(node.layer, shapes), span),
            scratch=self._buffers("scratch", 0, rules.scratch(node.layer, shapes), span),
            output_gradient=self.gradient(index, span),
            input_gradients=tuple(
                self._towards(index, place, edge, span)
                for place, edge in enumerate(self._edges[index])
            ),
            parameter_gradients=_parts(node.parameters, self._memory.registers[register]),
            buffers=_parts(node.buffers, self._parameters),
            buffer_sums=_parts(node.buffers, self._memory.registers[register]),
        )

    def loss(self, span: Span) -> LossCall[Any]:
        last = len(self._graph.nodes) - 1
        outputs = size(self._graph.output_shape)
        scratch = rule_of(self._graph.loss, self._graph.target).scratch(outputs, self._graph.target)
        return LossCall(
            loss=self._graph.loss,
            label_numbers=np.arange(span.rows * size(self._graph.target.shape)),
            output=self.output(last, span),
            target=self._memory.target[span.slice],
            scratch=self._buffers("scratch", 0, scratch, span),
            output_gradient=self.gradient(last, span),
        )

    def output(self, index: int, span: Span) -> Array:
        if not self._graph.nodes[index].inputs:
            return self._memory.inputs[index][span.slice]
        return self._array(Name("output", index), self._graph.nodes[index].shape, span)

    def gradient(self, index: int, span: Span) -> Array:
        name = Name("gradient", index)
        if name not in self._memory.slots:
            return _NOTHING
        return self._array(name, self._graph.nodes[index].shape, span)

    def addend(self, index: int, place: int, span: Span) -> Array:
        source = self._graph.nodes[index].inputs[place]
        return self._array(Name("addend", index, place), self._graph.nodes[source].shape, span)

    def _towards(self, index: int, place: int, edge: Edge | None, span: Span) -> Array | None:
        if edge is None:
            return None
        if edge.is_first:
            return self.gradient(edge.source, span)
        return self.addend(index, place, span)

    def _buffers(
        self,
        kind: Literal["saved", "scratch"],
        node: int,
        buffers: tuple[arrays.Buffer, ...],
        span: Span,
    ) -> tuple[Array, ...]:
        # Scratch is the same memory for every shard in turn.
        rows = span if kind == "saved" else Span(0, span.rows)
        return tuple(
            self._array(Name(kind, node, place), buffer.shape, rows, buffer.dtype)
            if buffer.per_row
            else self._shared(kind, place, buffer)
            for place, buffer in enumerate(buffers)
        )

    def _shared(
        self, kind: Literal["saved", "scratch"], place: int, buffer: arrays.Buffer
    ) -> Array:
        dtype = buffer.dtype or self._memory.dtype
        if kind == "saved":
            return np.zeros(buffer.shape, dtype)
        whole: Array = view(self._memory.workspaces[place], 1, buffer.shape, dtype)[0]
        return whole

    def _array(
        self, name: Name, shape: Shape, span: Span, dtype: type[np.generic] | None = None
    ) -> Array:
        memory = self._memory.slots[name]
        return view(memory, span.last, shape, dtype or self._memory.dtype)[span.slice]


def _parts(places: tuple[Parameter | Buffer, ...], vector: Array) -> tuple[Array, ...]:
    return tuple(vector[place.place].reshape(place.shape) for place in places)


def _runs(node: Node) -> Iterator[slice]:
    """The node's places in the flat vector, neighbours as one."""
    ends: slice | None = None
    for place in (part.place for part in node.parts):
        if ends is not None and ends.stop == place.start:
            ends = slice(ends.start, place.stop)
            continue
        if ends is not None:
            yield ends
        ends = place
    if ends is not None:
        yield ends
