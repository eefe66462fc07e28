import numpy as np
import pytest

from gradloom.worker.engine.graph import ModelError, build_graph
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.spec import (
    Add,
    Concat,
    Flatten,
    Layer,
    MeanSquaredError,
    Model,
    ModelNode,
    Relu,
    Reshape,
    Residual,
    Target,
)


def predict(layer: Layer, rows: np.ndarray, width: int) -> np.ndarray:
    target = Target("numbers", shape=(width,))
    plan = Plan(build_graph(Model((layer,)), MeanSquaredError(), rows.shape[1:], target), len(rows))
    plan.inputs(len(rows))[...] = rows
    return plan.predict(len(rows))


def test_flatten_keeps_the_order_of_a_rows_numbers() -> None:
    rows = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(predict(Flatten(), rows, 12), rows.reshape(2, 12))


def test_a_residual_adds_what_its_layers_make_of_its_input() -> None:
    rows = np.array([[-1.0, 2.0]])
    np.testing.assert_array_equal(predict(Residual((Relu(),)), rows, 2), [[-1.0, 4.0]])


def test_reshape_keeps_the_order_of_a_rows_numbers() -> None:
    rows = np.arange(24.0).reshape(2, 12)
    target = Target("numbers", shape=(2, 3, 2))
    graph = build_graph(Model((Reshape((2, -1, 2)),)), MeanSquaredError(), (12,), target)
    plan = Plan(graph, 2)
    plan.inputs(2)[...] = rows
    np.testing.assert_array_equal(plan.predict(2), rows.reshape(2, 2, 3, 2))


def merged(layer: Layer, *shapes: tuple[int, ...], output: tuple[int, ...]) -> Plan:
    names = tuple("abc"[: len(shapes)])
    model = Model(nodes=(ModelNode("out", names, (layer,)),), outputs=("out",))
    target = Target("numbers", shape=output)
    graph = build_graph(model, MeanSquaredError(), dict(zip(names, shapes, strict=True)), target)
    return Plan(graph, 2)


def test_concat_puts_its_inputs_side_by_side_in_their_order() -> None:
    plan = merged(Concat(), (2, 1), (2, 3), output=(2, 4))
    a, b = plan.all_inputs(2)
    a[...], b[...] = np.arange(4).reshape(a.shape), 10 + np.arange(12).reshape(b.shape)
    np.testing.assert_array_equal(plan.predict(2), np.concatenate([a, b], axis=-1))


def test_add_sums_all_its_inputs() -> None:
    plan = merged(Add(), (3,), (3,), (3,), output=(3,))
    for place, array in enumerate(plan.all_inputs(2)):
        array[...] = 10.0**place
    np.testing.assert_array_equal(plan.predict(2), np.full((2, 3), 111))


def sentence(layer: Layer, *shapes: tuple[int, ...]) -> str:
    with pytest.raises(ModelError) as caught:
        merged(layer, *shapes, output=shapes[0])
    return caught.value.faults[0].description


def test_b026_inputs_of_different_shapes_cannot_be_added() -> None:
    assert sentence(Add(), (64,), (32,)) == (
        "add needs inputs of one shape, gets (64) and (32): bring them to it with dense units 64."
    )
    assert sentence(Add(), (4, 4), (4, 4), (16,)) == (
        "add needs inputs of one shape, gets (4, 4), (4, 4) and (16): flatten or reshape before, "
        "or use concat."
    )


def test_b026_concat_joins_along_the_last_axis_alone() -> None:
    assert sentence(Concat(), (8, 8, 3), (4, 4, 3)) == (
        "concat joins (8, 8, 3) and (4, 4, 3) along the last axis, but all others must be equal: "
        "flatten or reshape before."
    )


def test_b027_a_shape_must_hold_a_rows_numbers() -> None:
    assert sentence(Reshape((28, 28, 1)), (700,)) == (
        "reshape (28, 28, 1) needs 784 numbers a row, gets (700), which is 700: give a shape of as "
        "many."
    )
    assert sentence(Reshape((27, -1)), (700,)) == (
        "reshape (27, -1) needs a multiple of 27 numbers a row, gets (700), which is 700: give a "
        "shape of as many."
    )


def test_a_layer_of_one_input_does_not_take_two() -> None:
    assert sentence(Relu(), (4,), (4,)) == (
        "relu takes 1 input, the node has 2: begin its layers with concat or add."
    )


def test_a_layer_of_several_inputs_does_not_take_one() -> None:
    assert sentence(Concat(), (4,)) == (
        "concat takes 2 inputs or more, gets 1: put it first in a node of model.nodes that names "
        "them, or remove it."
    )
