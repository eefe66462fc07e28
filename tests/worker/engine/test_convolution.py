import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.convolution import CONV1D, CONV2D
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.spec import (
    Conv1d,
    Conv2d,
    Convolution,
    Dense,
    Layer,
    MaxPool2d,
    MeanSquaredError,
    Model,
    Padding,
    Target,
)
from gradloom.worker.engine.window import windows

RULES = {Conv1d: CONV1D, Conv2d: CONV2D}


def alone(layer: Convolution, shape: Shape) -> Graph:
    output = RULES[type(layer)].shape(layer, (shape,))
    target = Target("numbers", shape=output)
    return build_graph(Model((layer,)), MeanSquaredError(), shape, target)


def by_definition(layer: Convolution, x: Array, weight: Array, bias: Array | None) -> Array:
    """The sum over every window, written out."""
    found = windows(layer, x.shape[1:-1])
    padding = [(0, 0), *((axis.before, axis.after) for axis in found.axes), (0, 0)]
    padded = np.pad(x, padding)
    filters, channels = weight.shape[:2]
    y = np.zeros((len(x), *found.shape, filters))
    for place in np.ndindex(*found.shape):
        for row, out in np.ndindex(len(x), filters):
            group = out // (filters // layer.groups)
            window = padded[(row, *map(_taps, place, found.axes))]
            window = window[..., group * channels : (group + 1) * channels]
            y[(row, *place, out)] = (np.moveaxis(window, -1, 0) * weight[out]).sum()
    return y if bias is None else y + bias


def _taps(place: int, axis: object) -> slice:
    start = place * axis.stride  # type: ignore[attr-defined]
    return slice(start, start + axis.extent, axis.dilation)  # type: ignore[attr-defined]


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Convolution, Shape]:
    """A convolution and a shape it takes."""
    axes = draw(st.integers(1, 2))
    some = st.lists(st.integers(1, 3), min_size=axes, max_size=axes).map(tuple)
    kernel, dilation, stride, extra = (draw(some) for _ in range(4))
    pads, padding = draw(
        st.sampled_from([((), Padding.SAME), ((), Padding.VALID), ((1,), Padding.VALID)])
    )
    groups = draw(st.integers(1, 3))
    layer = (Conv1d if axes == 1 else Conv2d)(
        groups * draw(st.integers(1, 2)),
        kernel,
        stride,
        padding,
        pads,
        dilation,
        groups,
        draw(st.booleans()),
    )
    lengths = ((k - 1) * d + e for k, d, e in zip(kernel, dilation, extra, strict=True))
    return layer, (*lengths, groups * draw(st.integers(1, 2)))


ANY = given(case=convolutions(), rows=st.integers(1, 3), seed=st.integers(0, 2**64 - 1))
SOME = settings(derandomize=True, max_examples=60, deadline=None)


@ANY
@SOME
def test_every_output_is_the_sum_over_its_window(
    case: tuple[Convolution, Shape], rows: int, seed: int
) -> None:
    layer, shape = case
    plan = Plan(alone(layer, shape), rows, np.float64)
    plan.parameters[...] = np.random.default_rng(seed).normal(size=plan.parameters.size)
    plan.inputs(rows)[...] = np.random.default_rng(seed + 1).normal(size=(rows, *shape))
    weight, *bias = (
        plan.parameters[parameter.place].reshape(parameter.shape)
        for parameter in plan.graph.parameters
    )
    expected = by_definition(layer, plan.inputs(rows), weight, bias[0] if bias else None)
    np.testing.assert_allclose(plan.predict(rows), expected, rtol=1e-10, atol=1e-10)


@ANY
@SOME
def test_the_vjp_is_the_gradient(case: tuple[Convolution, Shape], rows: int, seed: int) -> None:
    errors = check_gradients(alone(*case), rows=rows, seed=seed)
    assert max(error.relative_error for error in errors) < 1e-6


def test_rows_of_several_blocks_are_summed() -> None:
    errors = check_gradients(alone(Conv2d(4, (3,)), (30, 30, 8)), rows=3, most_elements=8)
    assert max(error.relative_error for error in errors) < 1e-6


def test_parameters_have_the_names_and_shapes_of_pytorch() -> None:
    weight, bias = alone(Conv2d(12, (3, 5), groups=2), (8, 8, 6)).parameters
    assert (weight.name, weight.shape) == ("layers.0.weight", (12, 3, 3, 5))
    assert (bias.name, bias.shape) == ("layers.0.bias", (12,))


def test_fans_count_the_taps_of_a_group() -> None:
    weight, _ = alone(Conv2d(12, (3, 5), groups=2), (8, 8, 6)).parameters
    assert (weight.fan_in, weight.fan_out) == (3 * 15, 6 * 15)


def test_outputs_begin_with_the_variance_of_the_inputs_after_a_relu() -> None:
    plan = Plan(alone(Conv2d(64, (3,)), (16, 16, 32)), 8)
    plan.parameters[...] = initial_parameters(plan.graph, 0)
    plan.inputs(8)[...] = np.random.default_rng(0).normal(size=(8, 16, 16, 32))
    assert plan.predict(8).var() == pytest.approx(2, rel=0.1)


def test_flops_are_two_a_weight_and_window() -> None:
    (row,) = alone(Conv2d(64, (3,), padding=Padding.SAME), (14, 14, 32)).layers
    assert row.forward_flops == 2 * 196 * 9 * 32 * 64 + 196 * 64
    assert row.backward_flops == row.forward_flops


def fault(shape: Shape, *layers: Layer) -> tuple[str, str]:
    with pytest.raises(ModelError) as caught:
        build_graph(Model(layers), MeanSquaredError(), shape, Target("numbers", shape=(1,)))
    return caught.value.faults[0].field, caught.value.faults[0].description


@pytest.mark.parametrize(
    ("shape", "gets", "remedy"),
    [
        ((784,), "(784)", "[28, 28, 1]"),
        ((3072,), "(3072)", "[32, 32, 3]"),
        ((28, 28), "(28, 28)", "[28, 28, 1]"),
        ((785,), "(785)", "[height, width, channels]"),
        ((2, 3, 4, 5), "(2, 3, 4, 5)", "[height, width, channels]"),
        ((), "()", "[height, width, channels]"),
    ],
)
def test_other_axes_are_told_with_a_reshape_that_helps(
    shape: Shape, gets: str, remedy: str
) -> None:
    assert fault(shape, Conv2d(4, (3,))) == (
        "model.layers[0].conv2d",
        f"conv2d needs (height, width, channels), gets {gets}: add reshape {{shape: {remedy}}}.",
    )


def test_a_sequence_without_channels_is_told() -> None:
    assert fault((100,), Conv1d(4, (3,))) == (
        "model.layers[0].conv1d",
        "conv1d needs (length, channels), gets (100): add reshape {shape: [100, 1]}.",
    )


def test_a_kernel_that_leaves_nothing_is_told() -> None:
    assert fault((3, 3, 1), Conv2d(4, (5,))) == (
        "model.layers[0].conv2d.kernel",
        "Kernel 5×5 on an input of 3×3 leaves nothing: use padding: same or a smaller kernel.",
    )
    assert fault((3, 4, 1), Conv2d(4, (2, 3), dilation=(3,))) == (
        "model.layers[0].conv2d.kernel",
        "Kernel 2×3, 4×7 with dilation, on an input of 3×4 leaves nothing: "
        "use padding: same or a smaller kernel.",
    )


def test_groups_divide_channels_and_filters() -> None:
    assert fault((3, 3, 6), Conv2d(8, (1,), groups=4)) == (
        "model.layers[0].conv2d.groups",
        "6 channels are not divisible by 4 groups: use 3 or 6.",
    )
    assert fault((3, 3, 6), Conv2d(8, (1,), groups=3)) == (
        "model.layers[0].conv2d.groups",
        "8 filters are not divisible by 3 groups: use 2 or 4.",
    )


@pytest.mark.parametrize(
    "layer", [Conv2d(0, (3,)), Conv2d(4, (0,)), Conv2d(4, (3,), groups=0), Conv2d(4, ())]
)
def test_layers_after_a_faulty_one_are_no_second_fault(layer: Conv2d) -> None:
    with pytest.raises(ModelError) as caught:
        build_graph(
            Model((layer, MaxPool2d((2,)), Conv2d(4, (1,), groups=2), Dense(1))),
            MeanSquaredError(),
            (8, 8, 3),
            Target("numbers", shape=(3, 3, 1)),
        )
    assert len(caught.value.faults) == 1
