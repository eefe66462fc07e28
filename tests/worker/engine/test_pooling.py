import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.check import WORDS
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    AveragePool1d,
    AveragePool2d,
    GlobalAveragePool,
    GlobalMaxPool,
    Layer,
    MaxPool1d,
    MaxPool2d,
    MeanSquaredError,
    Model,
    Padding,
    Pool,
    Target,
)
from gradloom.worker.engine.window import windows

KINDS = (MaxPool1d, MaxPool2d, AveragePool1d, AveragePool2d)
MAXIMA = (MaxPool1d, MaxPool2d)


def alone(layer: Layer, shape: Shape) -> Graph:
    output = OPERATIONS[WORDS[type(layer)]].shape(layer, (shape,))
    target = Target("numbers", shape=output)
    return build_graph(Model((layer,)), MeanSquaredError(), shape, target)


def put_out(layer: Layer, rows: Array) -> Array:
    plan = Plan(alone(layer, rows.shape[1:]), len(rows), np.float64)
    plan.inputs(len(rows))[...] = rows
    return plan.predict(len(rows))


def by_definition(layer: Pool, x: Array) -> Array:
    """The largest number or the mean of every window, written out."""
    found = windows(layer, x.shape[1:-1])
    y = np.zeros((len(x), *found.shape, x.shape[-1]))
    for place in np.ndindex(*found.shape):
        window = tuple(
            slice(
                max(index * axis.stride - axis.before, 0),
                index * axis.stride - axis.before + axis.size,
            )
            for index, axis in zip(place, found.axes, strict=True)
        )
        part = x[(slice(None), *window)]
        take = np.max if isinstance(layer, MAXIMA) else np.mean
        y[(slice(None), *place)] = take(part, axis=tuple(range(1, part.ndim - 1)))
    return y


@st.composite
def pools(draw: st.DrawFn) -> tuple[Pool, Shape]:
    """A pool and a shape it takes."""
    kind = draw(st.sampled_from(KINDS))
    axes = 1 if kind.__name__.endswith("1d") else 2
    some = st.lists(st.integers(1, 4), min_size=axes, max_size=axes).map(tuple)
    size, stride, extra = (draw(some) for _ in range(3))
    pads, padding = draw(
        st.sampled_from(
            [
                ((), Padding.SAME),
                ((), Padding.VALID),
                (tuple(extent // 2 for extent in size), Padding.VALID),
            ]
        )
    )
    layer = kind(size, draw(st.sampled_from([stride, ()])), padding, pads)
    lengths = (extent - 1 + more for extent, more in zip(size, extra, strict=True))
    return layer, (*lengths, draw(st.integers(1, 3)))


ANY = given(case=pools(), rows=st.integers(1, 3), seed=st.integers(0, 2**64 - 1))
SOME = settings(derandomize=True, max_examples=60, deadline=None)


@ANY
@SOME
def test_every_output_is_that_of_its_window(case: tuple[Pool, Shape], rows: int, seed: int) -> None:
    layer, shape = case
    x = np.random.default_rng(seed).normal(size=(rows, *shape))
    np.testing.assert_allclose(put_out(layer, x), by_definition(layer, x), rtol=1e-12)


@ANY
@SOME
def test_the_vjp_is_the_gradient(case: tuple[Pool, Shape], rows: int, seed: int) -> None:
    errors = check_gradients(alone(*case), rows=rows, seed=seed)
    assert max(error.relative_error for error in errors) < 1e-6


def test_global_pools_take_all_positions() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    np.testing.assert_allclose(put_out(GlobalAveragePool(), x), x.mean(axis=(1, 2)))
    np.testing.assert_array_equal(put_out(GlobalMaxPool(), x), x.max(axis=(1, 2)))


def gradient_of(layer: Layer, x: Array) -> Array:
    """Towards x, of the sum of squares of what the layer puts out, over the number of outputs."""
    plan = Plan(alone(layer, x.shape[1:]), len(x), np.float64, input_gradient=True)
    plan.inputs(len(x))[...] = x
    plan.value_and_grad(len(x), Key(0, 0))
    return plan.input_gradient(len(x))


def test_the_gradient_of_a_tie_goes_to_the_first() -> None:
    found = gradient_of(MaxPool2d((2,)), np.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(found.reshape(2, 2), [[2, 0], [0, 0]])


def test_a_number_that_is_none_is_put_out() -> None:
    x = np.zeros((1, 4, 1))
    x[0, 2] = np.nan
    assert np.isnan(put_out(MaxPool1d((2,)), x)).tolist() == [[[False], [True]]]


def fault(layer: Layer, shape: Shape) -> tuple[str, str]:
    with pytest.raises(ModelError) as caught:
        build_graph(Model((layer,)), MeanSquaredError(), shape, Target("numbers", shape=(1,)))
    return caught.value.faults[0].field, caught.value.faults[0].description


def test_a_pool_that_leaves_nothing_is_told() -> None:
    assert fault(AveragePool2d((2,)), (1, 5, 3)) == (
        "model.layers[0].average_pool2d.size",
        "Size 2×2 on an input of 1×5 leaves nothing: use padding: same or a smaller size.",
    )


def test_a_pool_of_a_flat_row_is_told() -> None:
    assert fault(MaxPool2d((2,)), (49,)) == (
        "model.layers[0].max_pool2d",
        "max_pool2d needs (height, width, channels), gets (49): add reshape {shape: [7, 7, 1]}.",
    )
    assert fault(GlobalMaxPool(), (49,)) == (
        "model.layers[0].global_max_pool",
        "global_max_pool needs (positions, channels) or more axes, gets (49): "
        "remove it or add reshape.",
    )
