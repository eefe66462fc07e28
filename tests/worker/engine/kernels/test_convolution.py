"""Convolutions by kernels come to what their twins come to, and their gradients are gradients."""

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.check import WORDS
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.gradient_check import check_gradients, fill_rows
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.plan import Float, Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    BatchNorm,
    Conv1d,
    Conv2d,
    Layer,
    MaxPool1d,
    MaxPool2d,
    MeanSquaredError,
    Model,
    Padding,
    Relu,
    Target,
)

SAME = Padding.SAME

CASES: dict[str, tuple[tuple[Layer, ...], Shape]] = {
    "winograd": ((Conv2d(32, (3,), padding=SAME),), (7, 10, 16)),
    "winograd without bias": ((Conv2d(16, (3,), bias=False),), (5, 4, 32)),
    "winograd of wide pads": ((Conv2d(16, (3,), pads=(2, 0)),), (3, 9, 16)),
    "winograd of many tiles": ((Conv2d(16, (3,), padding=SAME),), (30, 30, 16)),
    "one channel": ((Conv2d(32, (3,), padding=SAME),), (9, 8, 1)),
    "strides and dilation": (
        (Conv2d(16, (2, 3), (2, 1), pads=(1,), dilation=(1, 2), bias=False),),
        (9, 8, 3),
    ),
    "sequence": ((Conv1d(16, (5,), (2,), padding=SAME),), (23, 4)),
    "neither": ((Conv2d(12, (3,), (2,)), Conv2d(8, (3,), groups=4)), (9, 9, 20)),
    "norm": ((BatchNorm(),), (5, 11)),
    "norm of numbers": ((BatchNorm(0.3, 0.01),), (16,)),
    "norm and relu": ((BatchNorm(), Relu()), (5, 6, 8)),
    "norm, relu and pooling": ((BatchNorm(), Relu(), MaxPool2d((2,))), (8, 6, 24)),
    "norm and overlapping pooling": (
        (BatchNorm(), Relu(), MaxPool2d((3,), (2,), pads=(1,))),
        (8, 7, 9),
    ),
    "norm and pooling that skips": ((BatchNorm(), MaxPool2d((1,), (2,))), (8, 7, 8)),
    "norm, relu and pooling of sequences": ((BatchNorm(), Relu(), MaxPool1d((3,))), (10, 4)),
    "network": (
        (
            Conv2d(16, (3,), padding=SAME),
            BatchNorm(),
            Relu(),
            MaxPool2d((2,)),
            Conv2d(32, (3,), padding=SAME),
            BatchNorm(),
            Relu(),
            MaxPool2d((2,)),
        ),
        (12, 12, 2),
    ),
}
each_case = pytest.mark.parametrize(("layers", "shape"), CASES.values(), ids=CASES)


def graph_of(layers: tuple[Layer, ...], shape: Shape) -> Graph:
    output = shape
    for layer in layers:
        output = OPERATIONS[WORDS[type(layer)]].shape(layer, (output,))
    target = Target("numbers", shape=output)
    return build_graph(Model(layers), MeanSquaredError(), shape, target)


def fast(layers: tuple[Layer, ...], shape: Shape) -> Graph:
    return fuse(graph_of(layers, shape), FUSIONS)


def filled(plan: Plan, rows: int) -> Plan:
    plan.parameters[...] = initial_parameters(plan.graph, 3)
    trained = plan.parameters[: plan.graph.parameter_count]
    trained += 0.1 * np.random.default_rng(0).normal(size=trained.shape)
    fill_rows(plan, rows, seed=5)
    return plan


def pair(layers: tuple[Layer, ...], shape: Shape, rows: int, dtype: Float) -> tuple[Plan, Plan]:
    plans = (
        Plan(fast(layers, shape), rows, dtype, input_gradient=True, operations=FAST),
        Plan(graph_of(layers, shape), rows, dtype, input_gradient=True),
    )
    return filled(plans[0], rows), filled(plans[1], rows)


@each_case
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_a_kernel_comes_to_what_its_twin_comes_to(
    layers: tuple[Layer, ...], shape: Shape, dtype: Float, tolerance: float
) -> None:
    kernels, twins = pair(layers, shape, 5, dtype)
    np.testing.assert_allclose(
        kernels.value_and_grad(5, Key(0, 0)), twins.value_and_grad(5, Key(0, 0)), rtol=tolerance
    )
    assert_close(kernels.gradient, twins.gradient, tolerance)
    assert_close(kernels.input_gradient(5), twins.input_gradient(5), tolerance)
    assert_close(kernels.predict(5), twins.predict(5), tolerance)


def assert_close(found: Array, expected: Array, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@each_case
def test_the_vjp_of_a_kernel_is_the_gradient(layers: tuple[Layer, ...], shape: Shape) -> None:
    errors = check_gradients(fast(layers, shape), rows=3, most_elements=24, operations=FAST)
    assert max(error.relative_error for error in errors) < 1e-6
