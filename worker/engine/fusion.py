"""Chains of operations that one operation computes: a graph in, a smaller graph out."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gradloom.worker.engine.graph import Fused, Graph, Node

# Names of operations, each read by the next one alone, and the name of the one that stands for
# them. An earlier entry goes before a later one.
Fusions = Mapping[tuple[str, ...], str]


def fuse(graph: Graph, fusions: Fusions) -> Graph:
    """The same graph, each chain in the table as one node at the place of its last.

    That node reads what the first one reads, then what else the others read, in order. Its layer
    is Fused, its parameters and buffers those of the chain.
    """
    for chain in fusions:
        graph = _fused(graph, chain, fusions[chain])
    return graph


def _fused(graph: Graph, chain: tuple[str, ...], operation: str) -> Graph:
    ends = dict(_found(graph, chain))
    gone = {index for found in ends.values() for index in found[:-1]}
    places: dict[int, int] = {}
    nodes: list[Node] = []
    for index, node in enumerate(graph.nodes):
        if index in gone:
            continue
        if index in ends:
            node = _joined([graph.nodes[i] for i in ends[index]], ends[index], operation)
        places[index] = len(nodes)
        nodes.append(replace(node, inputs=tuple(places[source] for source in node.inputs)))
    return replace(graph, nodes=tuple(nodes))


def _found(graph: Graph, chain: tuple[str, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every occurrence of a chain by the node it ends in: its nodes in order."""
    taken: set[int] = set()
    for index in range(len(graph.nodes)):
        found = _from(graph, index, chain)
        if found and taken.isdisjoint(found):
            taken.update(found)
            yield found[-1], found


def _from(graph: Graph, index: int, chain: tuple[str, ...]) -> tuple[int, ...]:
    """The nodes of the chain that begins at this one; none where it does not."""
    if graph.nodes[index].operation != chain[0]:
        return ()
    if len(chain) == 1:
        return (index,)
    readers = [i for i, node in enumerate(graph.nodes) if index in node.inputs]
    if len(readers) != 1 or graph.nodes[readers[0]].inputs.count(index) != 1:
        return ()
    rest = _from(graph, readers[0], chain[1:])
    return (index, *rest) if rest else ()


def _joined(nodes: list[Node], chain: tuple[int, ...], operation: str) -> Node:
    """One node for a chain of them."""
    inside = set(chain)
    return replace(
        nodes[-1],
        operation=operation,
        layer=Fused(tuple(node.layer for node in nodes)),
        inputs=tuple(source for node in nodes for source in node.inputs if source not in inside),
        path=nodes[0].path,
        number=nodes[0].number,
        parameters=tuple(part for node in nodes for part in node.parameters),
        buffers=tuple(part for node in nodes for part in node.buffers),
    )
