import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.spec import Dense, Initializer, MeanSquaredError, Model, Target

INPUTS, UNITS = 300, 100
VARIANCES = {
    Initializer.HE_NORMAL: 2 / INPUTS,
    Initializer.HE_UNIFORM: 2 / INPUTS,
    Initializer.GLOROT_NORMAL: 2 / (INPUTS + UNITS),
    Initializer.GLOROT_UNIFORM: 2 / (INPUTS + UNITS),
    Initializer.ZEROS: 0.0,
    Initializer.ONES: 0.0,
    Initializer.NORMAL: 0.02**2,
}


def dense(initializer: Initializer) -> Graph:
    model = Model((Dense(UNITS, initializer=initializer), Dense(UNITS, initializer=initializer)))
    return build_graph(model, MeanSquaredError(), (INPUTS,), Target("numbers", shape=(UNITS,)))


def parameter(graph: Graph, name: str, seed: int = 1) -> Array:
    (found,) = [parameter for parameter in graph.parameters if parameter.name == name]
    return initial_parameters(graph, seed)[found.place]


def test_every_initializer_is_checked() -> None:
    assert VARIANCES.keys() == set(Initializer)


@pytest.mark.parametrize("initializer", Initializer)
def test_weights_have_the_variance_of_their_initializer(initializer: Initializer) -> None:
    weights = parameter(dense(initializer), "layers.0.weight")
    assert weights.var() == pytest.approx(VARIANCES[initializer], rel=0.03)
    assert abs(weights.mean() - (initializer is Initializer.ONES)) < 0.002


@pytest.mark.parametrize("initializer", [Initializer.HE_UNIFORM, Initializer.GLOROT_UNIFORM])
def test_uniform_weights_stay_within_their_bounds(initializer: Initializer) -> None:
    weights = parameter(dense(initializer), "layers.0.weight")
    bound = np.sqrt(3 * VARIANCES[initializer])
    assert 0.99 * bound < np.abs(weights).max() <= bound


def test_biases_begin_at_zero() -> None:
    assert not parameter(dense(Initializer.HE_NORMAL), "layers.0.bias").any()


def test_layers_and_seeds_begin_differently() -> None:
    graph = dense(Initializer.HE_NORMAL)
    first, second = (parameter(graph, f"layers.{layer}.weight")[:1000] for layer in (0, 1))
    assert not np.array_equal(first, second * np.sqrt(UNITS / INPUTS))
    assert not np.array_equal(first, parameter(graph, "layers.0.weight", seed=2)[:1000])


def test_the_same_seed_begins_the_same() -> None:
    graph = dense(Initializer.HE_NORMAL)
    first, again = initial_parameters(graph, 5), initial_parameters(graph, 5)
    assert first.tobytes() == again.tobytes()
    assert first.dtype == np.float32


def test_a_bias_begins_where_its_layer_says() -> None:
    model = Model((Dense(UNITS, bias_initial=-10.0),))
    graph = build_graph(model, MeanSquaredError(), (INPUTS,), Target("numbers", shape=(UNITS,)))
    assert (parameter(graph, "layers.0.bias") == -10).all()
    weights = parameter(graph, "layers.0.weight")
    assert (weights == parameter(dense(Initializer.HE_NORMAL), "layers.0.weight")).all()
