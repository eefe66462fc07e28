"""A look sees what is there, adds up over shards to what the whole batch has, and knows twins."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.health import Health, LayerHealth, is_due
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.observation import Moves, Observer
from gradloom.worker.engine.random import CHECK, Key, normal
from gradloom.worker.engine.spec import (
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    Initializer,
    Layer,
    MaxPool2d,
    MeanSquaredError,
    Model,
    Relu,
    Residual,
    Sigmoid,
    Tanh,
    Target,
)

INPUTS, ROWS = 6, 40
KEY = Key(3, CHECK)


def graph_of(*layers: Layer, shape: tuple[int, ...] = (INPUTS,), outputs: int = 2) -> Graph:
    target = Target("numbers", shape=(outputs,))
    return build_graph(Model((*layers, Dense(outputs))), MeanSquaredError(), shape, target)


def data(rows: int = ROWS, shape: tuple[int, ...] = (INPUTS,)) -> Array:
    return normal(KEY, rows * math.prod(shape)).reshape(rows, *shape).astype(np.float32)


def seen(graph: Graph, rows: Array, parameters: Array, key: Key = KEY) -> Array:
    observer = Observer(graph, len(rows))
    observer.plan.read(parameters)
    observer.plan.inputs(len(rows))[...] = rows
    return observer.look(len(rows), key)


def health_of(graph: Graph, rows: Array, parameters: Array | None = None) -> Health:
    """A look at a step that moves nothing."""
    vector = initial_parameters(graph, 1) if parameters is None else parameters
    moves = Moves(graph, np.zeros_like(vector), 1.0)
    return moves.health(seen(graph, rows, vector), vector, vector, is_whole=True)


def layer_of(health: Health, end: str) -> LayerHealth:
    return next(layer for layer in health.layers if layer.path.endswith(end))


def test_scale_is_that_of_what_a_layer_puts_out() -> None:
    graph, rows = graph_of(Dense(5), Tanh()), data()
    weights = initial_parameters(graph, 1)
    w, b = (weights[part.place].reshape(part.shape) for part in graph.parameters[:2])
    expected = rows @ w.T + b
    dense = layer_of(health_of(graph, rows), "layers[0].dense")
    assert (dense.numbers, dense.units, dense.samples) == (ROWS * 5, 5, ROWS)
    assert dense.mean == pytest.approx(expected.mean(), abs=1e-6)
    assert dense.rms == pytest.approx(np.sqrt((expected**2).mean()), rel=1e-5)


def test_a_unit_is_dead_only_if_it_is_0_for_all_rows_of_all_shards() -> None:
    graph = graph_of(Dense(3, initializer=Initializer.ZEROS), Relu())
    weights = initial_parameters(graph, 1)
    matrix, bias = (weights[part.place] for part in graph.parameters[:2])
    bias[:] = -0.5, 1.0, -0.5  # Never, always, and for one row alone.
    matrix.reshape(3, INPUTS)[2, 0] = 1.0
    rows = np.zeros((ROWS, INPUTS), np.float32)
    rows[-1, 0] = 1.0
    halves = seen(graph, rows[:20], weights) + seen(graph, rows[20:], weights)
    moves = Moves(graph, np.zeros_like(weights), 1.0)
    whole = moves.health(halves, weights, weights, is_whole=True)
    first = moves.health(seen(graph, rows[:20], weights), weights, weights, is_whole=True)
    assert layer_of(whole, "relu").dead == pytest.approx(1 / 3)
    assert layer_of(first, "relu").dead == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("layer", "ends"),
    [(Tanh(), lambda y: np.abs(y) > 0.99), (Sigmoid(), lambda y: (y < 0.01) | (y > 0.99))],
)
def test_numbers_at_the_flat_ends_are_saturated(layer: Layer, ends: object) -> None:
    graph, rows = graph_of(layer), 4 * data()
    x = rows.astype(float)
    y = np.tanh(x) if isinstance(layer, Tanh) else 1 / (1 + np.exp(-x))
    share = layer_of(health_of(graph, rows), type(layer).__name__.lower()).saturated
    assert share == pytest.approx(ends(y).mean())  # type: ignore[operator]
    assert 0.1 < (share or 0) < 0.9


def test_what_is_not_finite_is_counted_and_the_rest_measured() -> None:
    graph, rows = graph_of(Relu()), np.ones((ROWS, INPUTS), np.float32)
    rows[3, 2], rows[7, 1], rows[8, 0] = np.nan, np.inf, 1e30  # 1e30 has no square in float32.
    layer = layer_of(health_of(graph, rows), "data")
    assert layer.non_finite == 2
    assert layer.rms == pytest.approx(1e30 / math.sqrt(layer.numbers - 2), rel=1e-4)


def test_shards_add_up_to_the_batch() -> None:
    graph, rows = graph_of(Dense(8), Relu(), Residual((Dense(8), Tanh()))), data()
    weights = initial_parameters(graph, 1)
    whole = seen(graph, rows, weights)
    parts = [seen(graph, part, weights) for part in np.split(rows, 4)]
    assert np.sum(parts, axis=0) == pytest.approx(whole, rel=1e-5, abs=1e-4)


def test_dropout_drops_what_it_drops_in_training() -> None:
    graph, rows = graph_of(Dropout(0.5)), np.ones((ROWS, INPUTS), np.float32)
    one, other = (
        seen(graph, rows, initial_parameters(graph, 1), Key(seed, CHECK)) for seed in (1, 2)
    )
    assert one.tolist() != other.tolist()


def test_a_unit_of_an_image_is_a_channel() -> None:
    shape = (6, 6, 2)
    graph = graph_of(
        Conv2d(filters=4, kernel=(3,)),
        BatchNorm(),
        Relu(),
        MaxPool2d(size=(2,)),
        Flatten(),
        shape=shape,
    )
    rows = data(8, shape)
    health = health_of(graph, rows)
    relu = layer_of(health, "relu")
    assert (relu.units, relu.samples) == (4, 8 * 4 * 4)
    assert layer_of(health, "batch_norm").rms == pytest.approx(1, abs=1e-3)


def test_a_layer_moves_by_the_norm_of_its_update() -> None:
    graph = graph_of(Dense(5))
    before = initial_parameters(graph, 1)
    gradient = np.ones_like(before)
    after = (before - np.float32(0.1) * gradient).astype(np.float32)
    health = Moves(graph, gradient, 1.0).health(None, before, after, is_whole=True)
    dense = layer_of(health, "layers[0].dense")
    assert dense.size == 5 * INPUTS + 5
    assert dense.gradient_norm == pytest.approx(math.sqrt(dense.size))
    assert dense.update_norm == pytest.approx(0.1 * math.sqrt(dense.size), rel=1e-5)
    assert dense.update_ratio == pytest.approx(dense.update_norm / dense.weight_norm)
    assert [each.name for each in dense.parameters] == ["layers.0.weight", "layers.0.bias"]


def test_numbers_of_a_gradient_that_are_not_finite_are_counted() -> None:
    graph = graph_of()
    gradient = np.zeros(graph.vector_size, np.float32)
    gradient[2:5] = np.nan
    health = Moves(graph, gradient, 1.0).health(None, gradient, gradient, is_whole=False)
    assert [each.non_finite for each in health.layers[-1].parameters] == [3, 0]


def test_units_with_the_same_weights_that_move_alike_are_twins() -> None:
    graph = graph_of(Dense(5))
    vector = initial_parameters(graph, 1)
    rows = vector[graph.parameters[0].place].reshape(5, INPUTS)
    rows[3] = rows[1] * np.float32(1 + 1e-7)
    moves = Moves(graph, vector, 1.0)
    assert moves.health(None, vector, vector, is_whole=True).layers[1].twins == pytest.approx(2 / 5)
    apart = vector.copy()
    apart[graph.parameters[1].place][3] += 0.1
    assert moves.health(None, vector, apart, is_whole=True).layers[1].twins == 0


def test_a_layer_of_zeros_is_all_twins() -> None:
    graph = graph_of(Dense(5, initializer=Initializer.ZEROS))
    assert health_of(graph, data()).layers[1].twins == 1


def test_a_random_layer_has_no_twins() -> None:
    graph = graph_of(Dense(400))
    assert health_of(graph, data()).layers[1].twins == 0


def test_looks_are_many_at_first_and_then_at_an_interval() -> None:
    due = [step for step in range(1, 301) if is_due(step, 100)]
    assert due == [1, 2, 5, 10, 20, 50, 100, 200, 300]
    assert not any(is_due(step, 0) for step in due)


def test_a_layer_that_began_at_0_moves_beyond_all_measure() -> None:
    graph = graph_of()
    zero = np.zeros(graph.vector_size, np.float32)
    layer = Moves(graph, zero, 1.0).health(None, zero, zero + 1, is_whole=True).layers[-1]
    assert layer.update_ratio == math.inf
    assert replace(layer, parameters=()).update_ratio == 0
