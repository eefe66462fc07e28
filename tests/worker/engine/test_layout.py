import numpy as np

from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.layout import Edge, gradient_edges, lay_out
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.spec import (
    Dense,
    MeanSquaredError,
    Model,
    Relu,
    Residual,
    Tanh,
    Target,
)


def deep(blocks: int) -> Graph:
    model = Model((*(Dense(8), Tanh()) * blocks, Dense(8)))
    return build_graph(model, MeanSquaredError(), (8,), Target("numbers", shape=(8,)))


def test_gradients_of_a_deep_model_take_turns_in_the_same_memory() -> None:
    graph = deep(20)
    layout = lay_out(graph, OPERATIONS, np.float32, graph.trained())
    gradients = {slot for name, slot in layout.slots.items() if name.kind == "gradient"}
    assert sum(layout.row_bytes) < 60 * 8 * 4
    assert len(gradients) < 25


def test_the_second_gradient_towards_a_node_is_added_to_the_first() -> None:
    model = Model((Dense(4), Residual((Relu(),))))
    graph = build_graph(model, MeanSquaredError(), (4,), Target("numbers", shape=(4,)))
    _, dense, relu, add = gradient_edges(graph, graph.trained())
    assert dense == (None,)
    assert relu == (Edge(1, is_first=False),)
    assert add == (Edge(1, is_first=True), Edge(2, is_first=True))
