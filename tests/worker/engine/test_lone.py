from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.lone import lone_loss, lone_node
from gradloom.worker.engine.spec import (
    Add,
    BatchNorm,
    BinaryCrossEntropy,
    Concat,
    Dense,
    Model,
    ModelNode,
    SoftmaxCrossEntropy,
    Tanh,
    Target,
)

LABELS = Target("labels", classes=3)


def test_a_node_alone_has_a_vector_of_its_own() -> None:
    model = Model((Dense(4), BatchNorm(), Dense(5), BatchNorm(), Dense(3)))
    graph = build_graph(model, SoftmaxCrossEntropy(), (6,), LABELS)
    lone = lone_node(graph, 4)
    assert [part.name for part in lone.parts] == [part.name for part in graph.nodes[4].parts]
    assert lone.vector_size == 20
    assert [part.offset for part in lone.parts] == [0, 5, 10, 15]
    assert [error.name for error in check_gradients(lone)] == [
        "input",
        "layers.3.weight",
        "layers.3.bias",
    ]


def test_a_node_alone_reads_what_it_read_twice_twice() -> None:
    nodes = (
        ModelNode("twice", ("data", "other", "data"), (Concat(), Dense(3))),
        ModelNode("other", ("data",), (Dense(2), Tanh())),
    )
    model = Model(nodes=nodes, outputs=("twice",))
    graph = build_graph(model, SoftmaxCrossEntropy(), {"data": (4,)}, LABELS)
    (index,) = (i for i, node in enumerate(graph.nodes) if node.operation == "concat")
    lone = lone_node(graph, index)
    assert [node.shape for node in lone.nodes] == [(4,), (2,), (10,)]
    assert lone.nodes[2].inputs == (0, 1, 0)
    errors = check_gradients(lone)
    assert [error.name for error in errors] == ["input[0]", "input[1]"]
    assert max(error.relative_error for error in errors) < 1e-6


def test_a_loss_alone_reads_the_output() -> None:
    nodes = (ModelNode("sum", ("a", "b"), (Add(), Dense(3))),)
    model = Model(nodes=nodes, outputs=("sum",))
    target = Target("numbers", shape=(3,))
    graph = build_graph(model, BinaryCrossEntropy(), {"a": (2,), "b": (2,)}, target)
    (error,) = check_gradients(lone_loss(graph))
    assert (error.name, error.elements) == ("output", 9)
    assert error.relative_error < 1e-6
