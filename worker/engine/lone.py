"""Parts of a graph as graphs of their own, so that a wrong gradient shows where it is made."""

from dataclasses import replace

from gradloom.worker.engine.graph import Graph, Node
from gradloom.worker.engine.spec import MeanSquaredError, Target


def lone_node(graph: Graph, index: int) -> Graph:
    """One operation with an input for each node it reads, held to numbers of its output's shape.

    The inputs are called "input", or "input[0]", "input[1]", … where there are several.
    """
    node = graph.nodes[index]
    sources = tuple(dict.fromkeys(node.inputs))
    names = [f"input[{place}]" for place in range(len(sources))] if sources[1:] else ["input"]
    inputs = tuple(
        Node("input", None, (), graph.nodes[source].shape, name, place)
        for place, (source, name) in enumerate(zip(sources, names, strict=True))
    )
    lone = replace(_alone(node), inputs=tuple(map(sources.index, node.inputs)), number=len(inputs))
    return Graph((*inputs, lone), MeanSquaredError(), Target("numbers", shape=node.shape))


def lone_loss(graph: Graph) -> Graph:
    """The loss of what the graph puts out, which is then its input, called "output"."""
    output = Node("input", None, (), graph.output_shape, "output", 0)
    return Graph((output,), graph.loss, graph.target)


def _alone(node: Node) -> Node:
    """The node with a flat vector of its own."""
    parameters, buffers, offset = [], [], 0
    for parameter in node.parameters:
        parameters.append(replace(parameter, offset=offset))
        offset += parameter.size
    for buffer in node.buffers:
        buffers.append(replace(buffer, offset=offset))
        offset += buffer.size
    return replace(node, parameters=tuple(parameters), buffers=tuple(buffers))
