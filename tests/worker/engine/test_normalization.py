import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.spec import (
    Dense,
    GroupNorm,
    Layer,
    LayerNorm,
    MeanSquaredError,
    Model,
    RmsNorm,
    Target,
)

RANDOM = np.random.Generator(np.random.Philox(2))


def alone(layer: Layer, shape: Shape) -> Graph:
    return build_graph(Model((layer,)), MeanSquaredError(), shape, Target("numbers", shape=shape))


def put_out(layer: Layer, rows: Array, scale: float = 1.0) -> Array:
    plan = Plan(alone(layer, rows.shape[1:]), len(rows))
    plan.parameters[...] = scale * initial_parameters(plan.graph, 0)
    plan.inputs(len(rows))[...] = rows
    return plan.predict(len(rows))


def test_layer_norm_brings_the_last_axis_to_mean_0_and_variance_1() -> None:
    rows = 5 + 3 * RANDOM.normal(size=(4, 2, 50))
    centred = rows - rows.mean(axis=-1, keepdims=True)
    expected = centred / np.sqrt(rows.var(axis=-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(put_out(LayerNorm(), rows), expected, rtol=1e-5, atol=1e-5)


def test_rms_norm_brings_the_last_axis_to_root_mean_square_1() -> None:
    rows = 5 + 3 * RANDOM.normal(size=(4, 2, 50))
    expected = rows / np.sqrt((rows**2).mean(axis=-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(put_out(RmsNorm(), rows), expected, rtol=1e-5)


def test_group_norm_takes_all_positions_and_the_channels_of_a_group() -> None:
    rows = RANDOM.normal(size=(3, 4, 5, 6))
    grouped = rows.reshape(3, 20, 2, 3)
    mean, variance = (f(grouped, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    expected = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(rows.shape)
    np.testing.assert_allclose(put_out(GroupNorm(2), rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", [LayerNorm(), RmsNorm(), GroupNorm(2)], ids=str)
def test_the_weight_multiplies(layer: Layer) -> None:
    rows = RANDOM.normal(size=(3, 4))
    np.testing.assert_allclose(put_out(layer, rows, scale=2.0), 2 * put_out(layer, rows))


@pytest.mark.parametrize("layer", [LayerNorm(), GroupNorm(2)], ids=str)
def test_equal_numbers_become_zeros(layer: Layer) -> None:
    assert not put_out(layer, np.full((2, 4), 1e6)).any()


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (LayerNorm(), ["layers.0.weight", "layers.0.bias"]),
        (RmsNorm(), ["layers.0.weight"]),
        (GroupNorm(3), ["layers.0.weight", "layers.0.bias"]),
    ],
    ids=str,
)
def test_parameters_have_the_names_and_shapes_of_pytorch(layer: Layer, names: list[str]) -> None:
    parameters = alone(layer, (5, 6)).parameters
    assert [parameter.name for parameter in parameters] == names
    assert {parameter.shape for parameter in parameters} == {(6,)}


@given(
    groups=st.integers(1, 3),
    channels=st.integers(1, 3),
    positions=st.lists(st.integers(1, 3), max_size=2),
    rows=st.integers(1, 3),
    seed=st.integers(0, 2**64 - 1),
)
@settings(derandomize=True, max_examples=40, deadline=None)
def test_the_vjp_of_group_norm_is_the_gradient_for_any_groups(
    groups: int, channels: int, positions: list[int], rows: int, seed: int
) -> None:
    graph = alone(GroupNorm(groups), (*positions, groups * channels))
    errors = check_gradients(graph, rows=rows, seed=seed)
    assert max(error.relative_error for error in errors) < 1e-6


@pytest.mark.parametrize(
    ("groups", "remedy"), [(6, "use 4 or 8"), (100, "use 64 or 128"), (200, "use 128")]
)
def test_groups_that_do_not_divide_the_channels_are_a_fault(groups: int, remedy: str) -> None:
    with pytest.raises(ModelError) as caught:
        alone(GroupNorm(groups), (7, 128))
    (fault,) = caught.value.faults
    assert fault.field == "model.layers[0].group_norm"
    sentence = f"128 channels of (7, 128) are not divisible by {groups} groups: {remedy}."
    assert fault.description == sentence


def test_a_row_of_one_number_without_axes_cannot_be_normalized() -> None:
    with pytest.raises(ModelError, match=r"layer_norm needs at least one number a row, gets \(\)"):
        alone(LayerNorm(), ())


def test_groups_after_a_faulty_layer_are_no_second_fault() -> None:
    model, target = Model((Dense(0), GroupNorm(3))), Target("numbers", shape=(4,))
    with pytest.raises(ModelError) as caught:
        build_graph(model, MeanSquaredError(), (4,), target)
    assert [fault.field for fault in caught.value.faults] == ["model.layers[0].dense.units"]
