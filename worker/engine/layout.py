"""How long each array of a training step is needed, and so where it stands in memory.

Time runs through the forward pass, the loss and the backward pass, one tick a node.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gradloom.worker.engine.arrays import Buffer, size
from gradloom.worker.engine.graph import Graph, Node
from gradloom.worker.engine.losses import rule_of
from gradloom.worker.engine.operation import Operation
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.slots import Layout, Lifetime, Name, share


@dataclass(frozen=True, slots=True)
class Edge:
    """A gradient on its way to a node: the first is written in place, others are added to it."""

    source: int
    is_first: bool


def lay_out(
    graph: Graph, operations: Operations, dtype: type[np.generic], needed: frozenset[int]
) -> Layout:
    """Memory for one training step; needed are the nodes whose gradient is computed."""
    return share(_Lives(graph, operations, dtype, needed).all())


def workspaces(graph: Graph, operations: Operations, dtype: type[np.generic]) -> Mapping[int, int]:
    """Bytes of the scratch arrays that do not grow with the rows, by their place."""
    return _Lives(graph, operations, dtype, frozenset()).workspaces()


def needed_gradients(graph: Graph, input_gradient: bool = False) -> frozenset[int]:
    """The nodes whose gradient a plan computes; the output's is always among them."""
    everything = frozenset(range(len(graph.nodes)))
    return everything if input_gradient else graph.trained() | {len(graph.nodes) - 1}


def row_bytes(graph: Graph, dtype: type[np.generic] = np.float32) -> int:
    """The memory a plan takes for each row it is made for; parameters are not counted."""
    layout = lay_out(graph, OPERATIONS, dtype, needed_gradients(graph))
    numbers = sum(size(node.shape) for node in graph.inputs) + size(graph.target.shape)
    return sum(layout.row_bytes) + numbers * np.dtype(dtype).itemsize


def held_bytes(graph: Graph, node: Node, dtype: type[np.generic] = np.float32) -> int:
    """What an operation keeps of each row of the forward pass: its output, and what its vjp saved.

    Less than the sum over a graph is taken, since arrays share memory once they are read.
    """
    rules = OPERATIONS[node.operation]
    saved = rules.saved(node.layer, graph.input_shapes(node))
    buffers = (Buffer(node.shape), *(buffer for buffer in saved if buffer.per_row))
    return sum(size(each.shape) * np.dtype(each.dtype or dtype).itemsize for each in buffers)


def gradient_edges(graph: Graph, needed: frozenset[int]) -> tuple[tuple[Edge | None, ...], ...]:
    """For each node and each of its inputs, where the gradient goes; None where nobody needs it."""
    arrived: set[int] = set()
    backward = [
        tuple(_edge(source, needed, arrived) for source in node.inputs)
        for node in reversed(graph.nodes)
    ]
    return tuple(reversed(backward))


def _edge(source: int, needed: frozenset[int], arrived: set[int]) -> Edge | None:
    if source not in needed:
        return None
    edge = Edge(source, source not in arrived)
    arrived.add(source)
    return edge


class _Lives:
    """The lifetimes of all arrays of one graph."""

    def __init__(
        self,
        graph: Graph,
        operations: Operations,
        dtype: type[np.generic],
        needed: frozenset[int],
    ) -> None:
        self._graph = graph
        self._operations = operations
        self._dtype = dtype
        self._needed = needed
        self._readers: list[list[int]] = [[] for _ in graph.nodes]
        for index, node in enumerate(graph.nodes):
            for source in node.inputs:
                self._readers[source].append(index)

    def all(self) -> Iterator[Lifetime]:
        """Every array of a step, but the model's inputs, which the caller fills."""
        for index, node in enumerate(self._graph.nodes):
            if node.inputs:
                yield from self._forward(index, node)
            if index in self._needed:
                yield self._gradient(index)
        yield from self._addends()
        yield from self._scratch()

    @property
    def _loss(self) -> int:
        return len(self._graph.nodes)

    def _backward(self, index: int) -> int:
        return 2 * self._loss - index

    def _rules(self, node: Node) -> Operation[object]:
        return self._operations[node.operation]

    def _bytes(self, buffer: Buffer) -> int:
        return size(buffer.shape) * np.dtype(buffer.dtype or self._dtype).itemsize

    def _forward(self, index: int, node: Node) -> Iterator[Lifetime]:
        kept_by_readers = [
            self._backward(reader)
            for reader in self._readers[index]
            if "input" in self._rules(self._graph.nodes[reader]).keeps
        ]
        last_read = max(self._readers[index], default=self._loss)
        kept = self._backward(index) if "output" in self._rules(node).keeps else index
        dies = max(last_read, kept, *kept_by_readers)
        yield Lifetime(Name("output", index), self._bytes(Buffer(node.shape)), index, dies)
        saved = self._rules(node).saved(node.layer, self._graph.input_shapes(node))
        for place, buffer in enumerate(saved):
            if buffer.per_row:
                name = Name("saved", index, place)
                yield Lifetime(name, self._bytes(buffer), index, self._backward(index))

    def _gradient(self, index: int) -> Lifetime:
        born = min(map(self._backward, self._readers[index]), default=self._loss)
        row_bytes = self._bytes(Buffer(self._graph.nodes[index].shape))
        return Lifetime(Name("gradient", index), row_bytes, born, self._backward(index))

    def _addends(self) -> Iterator[Lifetime]:
        for index, edges in enumerate(gradient_edges(self._graph, self._needed)):
            tick = self._backward(index)
            for place, edge in enumerate(edges):
                if edge is not None and not edge.is_first:
                    row_bytes = self._bytes(Buffer(self._graph.nodes[edge.source].shape))
                    yield Lifetime(Name("addend", index, place), row_bytes, tick, tick)

    def _scratch(self) -> Iterator[Lifetime]:
        """Each place as large as the largest user needs it, and never shared with anything else."""
        for place, row_bytes in self._largest(per_row=True).items():
            yield Lifetime(Name("scratch", 0, place), row_bytes, 0, self._backward(0))

    def workspaces(self) -> dict[int, int]:
        """Bytes of the scratch arrays that do not grow with the rows, by their place."""
        return self._largest(per_row=False)

    def _largest(self, per_row: bool) -> dict[int, int]:
        places: dict[int, int] = {}
        for user in self._scratch_users():
            for place, buffer in enumerate(user):
                if buffer.per_row == per_row:
                    places[place] = max(places.get(place, 0), self._bytes(buffer))
        return places

    def _scratch_users(self) -> Iterator[tuple[Buffer, ...]]:
        outputs = size(self._graph.output_shape)
        yield rule_of(self._graph.loss, self._graph.target).scratch(outputs, self._graph.target)
        for node in self._graph.nodes:
            if node.inputs:
                yield self._rules(node).scratch(node.layer, self._graph.input_shapes(node))
