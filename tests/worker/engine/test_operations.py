"""Every operation against central differences; one without a check here fails."""

import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.check import WINDOW_AXES, WORDS
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.operation import Operation
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    Add,
    Attention,
    AveragePool1d,
    AveragePool2d,
    BatchNorm,
    BlockActivation,
    BlockNorm,
    Concat,
    Conv1d,
    Conv2d,
    Dense,
    Dropout,
    Elu,
    Embedding,
    Flatten,
    Gelu,
    GeluApproximation,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    Gru,
    Hardswish,
    Layer,
    LayerNorm,
    LeakyRelu,
    Lstm,
    MaxPool1d,
    MaxPool2d,
    MeanSquaredError,
    Model,
    ModelNode,
    Padding,
    Positions,
    Relu,
    Reshape,
    Residual,
    RmsNorm,
    Selu,
    Sigmoid,
    Silu,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    Tanh,
    Target,
    TransformerBlock,
)

TOLERANCE = 1e-6

# The layers that put each operation to the test.
CHECKS: dict[str, tuple[Layer, ...]] = {
    "add": (Residual((Tanh(),)), Residual((Residual((Tanh(),)),)), Add()),
    "concat": (Concat(),),
    "dense": (Dense(3), Dense(1), Dense(4, bias=False)),
    "dropout": (Dropout(0.0), Dropout(0.4)),
    "flatten": (Flatten(),),
    "gelu": (Gelu(), Gelu(GeluApproximation.TANH)),
    "leaky_relu": (LeakyRelu(), LeakyRelu(0.0), LeakyRelu(0.7)),
    "relu": (Relu(),),
    "sigmoid": (Sigmoid(),),
    "tanh": (Tanh(),),
    "elu": (Elu(), Elu(0.3)),
    "selu": (Selu(),),
    "silu": (Silu(),),
    "softplus": (Softplus(),),
    "hardswish": (Hardswish(),),
    "softmax": (Softmax(),),
    "layer_norm": (LayerNorm(), LayerNorm(0.1)),
    "rms_norm": (RmsNorm(), RmsNorm(0.1)),
    "group_norm": (GroupNorm(1), GroupNorm(1, 0.1)),
    "embedding": (Embedding(5, 3), Embedding(2, 1)),
    "padding_mask": (Embedding(4, 3, padding_index=1),),
    "positions": (Positions(5), Positions(7)),
    "attention": (
        Attention(1),
        Attention(2, causal=True),
        Attention(2, rotary=True, bias=False),
        Attention(6, kv_heads=2, causal=True, rotary=True),
        Attention(4, kv_heads=1),
    ),
    "conv1d": (Conv1d(2, (3,), padding=Padding.SAME), Conv1d(3, (1,), (2,), bias=False)),
    "conv2d": (
        Conv2d(2, (3,), padding=Padding.SAME),
        Conv2d(3, (2, 3), (2,), pads=(1,), bias=False),
    ),
    "max_pool1d": (MaxPool1d((2,), padding=Padding.SAME), MaxPool1d((1,), (2,))),
    "max_pool2d": (MaxPool2d((2,), padding=Padding.SAME), MaxPool2d((3, 2), (1,), pads=(1,))),
    "average_pool1d": (AveragePool1d((2,), padding=Padding.SAME), AveragePool1d((1,), (2,))),
    "average_pool2d": (
        AveragePool2d((2,), padding=Padding.SAME),
        AveragePool2d((3, 2), (1,), pads=(1,)),
    ),
    "global_average_pool": (GlobalAveragePool(),),
    "global_max_pool": (GlobalMaxPool(),),
    "batch_norm": (BatchNorm(), BatchNorm(epsilon=0.1)),
    "reshape": (Reshape((-1,)), Reshape((-1, 1, 1))),
    "lstm": (Lstm(3), Lstm(1, return_sequences=True, bias=False), Lstm(2, True, True)),
    "gru": (Gru(3), Gru(1, return_sequences=True, bias=False), Gru(2, True, True)),
}


@dataclass(frozen=True, slots=True)
class Shaped:
    layer: Layer
    shape: Shape


SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)
LAYERS = st.sampled_from([layer for layers in CHECKS.values() for layer in layers])


def fitting(layer: Layer, shape: Shape) -> Shape:
    """A shape near the one given that the layer takes."""
    if type(layer) in WINDOW_AXES:
        return (3, 4, *shape)[-WINDOW_AXES[type(layer)] - 1 :]
    if isinstance(layer, Positions):
        return min(shape[0], layer.length), shape[-1]
    if isinstance(layer, Attention):
        return shape[0], layer.heads * shape[-1] * (1 + layer.rotary)
    if isinstance(layer, Lstm | Gru):
        return (*shape, 2)[:2]
    pools_all = isinstance(layer, GlobalAveragePool | GlobalMaxPool)
    return (4, *shape) if pools_all and len(shape) == 1 else shape


def alone(layer: Layer, shape: Shape) -> Graph:
    """The layer as a whole model, held to numbers of its output's shape.

    One that needs several inputs gets four: the data, what a layer makes of it, and both again.
    """
    shape = fitting(layer, shape)
    if isinstance(layer, (Add, Concat)):
        return of_several(layer, shape)
    output = output_shape(layer, shape)
    return build_graph(Model((layer,)), MeanSquaredError(), shape, Target("numbers", shape=output))


def output_shape(layer: Layer, *inputs: Shape) -> Shape:
    return (
        inputs[0] if isinstance(layer, Residual | Attention) else rules(layer).shape(layer, inputs)
    )


def rules(layer: Layer) -> Operation[Any]:
    word = WORDS[type(layer)]
    return OPERATIONS[word]


def of_several(layer: Layer, shape: Shape) -> Graph:
    nodes = (
        ModelNode("joined", ("data", "other", "data", "other"), (layer,)),
        ModelNode("other", ("data",), (Tanh(),)),
    )
    target = Target("numbers", shape=output_shape(layer, *(shape,) * 4))
    model = Model(nodes=nodes, outputs=("joined",))
    return build_graph(model, MeanSquaredError(), {"data": shape}, target)


def worst(graph: Graph, rows: int = 3, seed: int = 0) -> float:
    errors = check_gradients(graph, rows=rows, seed=seed)
    return max((error.relative_error for error in errors), default=0)


def test_every_operation_has_a_check() -> None:
    assert CHECKS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("operation", CHECKS)
def test_a_check_runs_its_operation(operation: str) -> None:
    for layer in CHECKS[operation]:
        assert operation in [node.operation for node in alone(layer, (2, 3)).nodes]


@pytest.mark.parametrize(
    "layer", [layer for layers in CHECKS.values() for layer in layers], ids=str
)
def test_the_vjp_is_the_gradient(layer: Layer) -> None:
    assert worst(alone(layer, (2, 3))) < TOLERANCE


@given(layer=LAYERS, shape=SHAPES, rows=st.integers(1, 4), seed=st.integers(0, 2**64 - 1))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_the_vjp_is_the_gradient_for_any_shape(
    layer: Layer, shape: Shape, rows: int, seed: int
) -> None:
    assert worst(alone(layer, shape), rows, seed) < TOLERANCE


def peak_bytes(graph: Graph, rows: int) -> int:
    plan = Plan(graph, rows, input_gradient=True)
    plan.value_and_grad(rows, Key(0, 0))
    tracemalloc.start()
    try:
        plan.value_and_grad(rows, Key(0, 0))
        plan.evaluate(rows)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("operation", CHECKS)
def test_a_step_allocates_nothing_that_grows_with_the_rows(operation: str) -> None:
    for layer in CHECKS[operation]:
        graph = alone(layer, (8, 16))
        assert abs(peak_bytes(graph, 2000) - peak_bytes(graph, 1000)) < 1000


COMPOSED = {
    "perceptron": (Dense(8), Relu(), Dense(6), Tanh(), Dense(4)),
    "dropout": (Dense(8), Gelu(), Dropout(0.5), Dense(8), Dropout(0.2), Dense(4)),
    "residual nest": (
        Dense(6),
        Residual((Dense(6), Sigmoid(), Residual((LeakyRelu(), Dense(6))))),
        Residual((Residual((Dropout(0.3),)), Tanh())),
        Dense(4),
    ),
    "residual of the data": (Residual((Dense(15), Tanh())), Dense(4)),
    "residual that doubles": (Dense(4), Residual((Dropout(0.0),))),
    "deep": (*(Dense(5), Tanh()) * 12, Dense(4)),
    "norms": (
        LayerNorm(),
        Dense(12),
        GroupNorm(3),
        Silu(),
        Residual((RmsNorm(), Dense(12), Softplus(), Dense(12))),
        Dense(4),
    ),
    "gate": (Dense(6), Residual((Softmax(), Dense(6), Selu())), Elu(0.5), Dense(4)),
}


@pytest.mark.parametrize("layers", COMPOSED.values(), ids=COMPOSED)
def test_the_gradient_of_a_composed_model_is_right(layers: tuple[Layer, ...]) -> None:
    target = Target("labels", classes=4)
    graph = build_graph(Model(layers), SoftmaxCrossEntropy(), (15,), target)
    assert worst(graph, rows=5) < TOLERANCE


def test_the_gradient_of_a_model_on_images_is_right() -> None:
    model = Model(
        (
            Dense(4),
            GroupNorm(2),
            Tanh(),
            Dense(3),
            LayerNorm(),
            Flatten(),
            Residual((Dense(12),)),
            Dense(2),
        )
    )
    graph = build_graph(model, SoftmaxCrossEntropy(), (2, 2, 5), Target("labels", classes=2))
    assert worst(graph) < TOLERANCE


BLOCKS = {
    "gpt": TransformerBlock(2, causal=True),
    "llama": TransformerBlock(
        4,
        kv_heads=2,
        causal=True,
        rotary=True,
        hidden=5,
        activation=BlockActivation.SILU,
        norm=BlockNorm.RMS_NORM,
        bias=False,
    ),
    "encoder": TransformerBlock(1, activation=BlockActivation.GELU, dropout=0.3),
    "relu": TransformerBlock(2, activation=BlockActivation.RELU),
}


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@given(tokens=st.integers(1, 6), rows=st.integers(1, 4), seed=st.integers(0, 2**64 - 1))
@settings(derandomize=True, max_examples=5, deadline=None)
def test_the_gradient_of_a_language_model_is_right(
    block: TransformerBlock, padding: int | None, tokens: int, rows: int, seed: int
) -> None:
    embedding = Embedding(5, 8, padding_index=padding)
    model = Model((embedding, Positions(6), block, block, LayerNorm(), Dense(3)))
    target = Target("labels", classes=3, shape=(tokens,))
    graph = build_graph(model, SoftmaxCrossEntropy(), (tokens,), target)
    assert worst(graph, rows, seed) < TOLERANCE


def node(name: str, *inputs: str, layers: tuple[Layer, ...]) -> ModelNode:
    return ModelNode(name, inputs, layers)


GRAPHS = {
    "two towers": (
        node("left", "a", layers=(Dense(6), Tanh(), Dense(4))),
        node("right", "b", layers=(Flatten(), Dense(5), Silu(), Dense(4))),
        node("out", "left", "right", layers=(Add(), Gelu(), Dense(3))),
    ),
    # One dense layer over the axis of 2 is both twins' own.
    "siamese": (
        node("wide", "b", layers=(Flatten(), Dense(5))),
        node("twins", "a", "wide", layers=(Concat(), Reshape((2, 5)), Dense(4), Tanh())),
        node("out", "twins", layers=(Flatten(), Dense(3))),
    ),
    "skip concat": (
        node("out", "deep", "stem", "a", layers=(Concat(), Dense(3))),
        node("deep", "narrow", layers=(Dense(6), Sigmoid(), Residual((Dense(6),)))),
        node("narrow", "stem", "flat", layers=(Concat(), Dense(2), Softplus())),
        node("flat", "b", layers=(Flatten(),)),
        node("stem", "a", layers=(Dense(4), Tanh())),
    ),
    "read again and again": (
        node("both", "a", "a", "a", layers=(Add(), Dense(4))),
        node("flat", "b", layers=(Reshape((-1,)), Dense(4))),
        node("square", "both", "flat", "both", layers=(Concat(), Dropout(0.3), Dense(4))),
        node("out", "square", "both", "flat", "flat", layers=(Add(), Dense(3))),
    ),
}


@pytest.mark.parametrize("nodes", GRAPHS.values(), ids=GRAPHS)
def test_the_gradient_of_a_model_of_several_inputs_is_right(nodes: tuple[ModelNode, ...]) -> None:
    model = Model(nodes=nodes, outputs=("out",))
    inputs = {"a": (5,), "b": (2, 3)}
    graph = build_graph(model, SoftmaxCrossEntropy(), inputs, Target("labels", classes=3))
    errors = check_gradients(graph, rows=4)
    assert [error.name for error in errors[:2]] == ["data.a", "data.b"]
    assert max(error.relative_error for error in errors) < TOLERANCE
