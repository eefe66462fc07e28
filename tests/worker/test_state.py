"""The state of a step stays whole while the next one is written, and survives its snapshot."""

import hashlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.schedules import Plateau
from gradloom.worker.engine.spec import (
    Adam,
    Dense,
    Model,
    Optimizer,
    ReduceOnPlateauSchedule,
    Relu,
    Sgd,
    SoftmaxCrossEntropy,
    Target,
    WeightAverage,
)
from gradloom.worker.state import BadState, State
from gradloom.worker.tensor_file import metadata

OPTIMIZER = Optimizer(Adam(0.1))


@pytest.fixture
def graph() -> Graph:
    model = Model((Dense(4), Relu(), Dense(3)))
    return build_graph(model, SoftmaxCrossEntropy(), (5,), Target("labels", classes=3))


@pytest.fixture
def state(graph: Graph) -> State:
    return State(graph, OPTIMIZER, seed=1)


def gradient(state: State, number: int) -> np.ndarray:
    return np.full_like(state.parameters, number + 0.5)


def test_an_update_allocates_nothing() -> None:
    model = Model((Dense(500), Dense(3)))
    graph = build_graph(model, SoftmaxCrossEntropy(), (500,), Target("labels", classes=3))
    state = State(graph, OPTIMIZER, seed=1)
    ones = np.ones_like(state.parameters)
    state.advance(ones, 0.1)
    tracemalloc.start()
    state.advance(ones, 0.1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000 < ones.nbytes


def test_the_seed_decides_where_it_begins(graph: Graph, state: State) -> None:
    assert State(graph, OPTIMIZER, seed=1).weights_sha256() == state.weights_sha256()
    assert State(graph, OPTIMIZER, seed=2).weights_sha256() != state.weights_sha256()


def test_weight_decay_may_leave_biases_out(graph: Graph) -> None:
    optimizer = Optimizer(Sgd(0.1, weight_decay=0.5), no_decay_on_bias_and_norm=True)
    state = State(graph, optimizer, seed=1)
    np.copyto(state.parameters, 1)
    state.advance(np.zeros_like(state.parameters), 0.1)
    found = {name: set(values.flat) for name, values in load(state.model({})).items()}
    decayed = {np.float32(1) - np.float32(0.05)}
    assert found["layers.0.weight"] == found["layers.2.weight"] == decayed
    assert found["layers.0.bias"] == found["layers.2.bias"] == {1.0}


def test_an_update_that_fails_leaves_the_step_whole(state: State) -> None:
    state.advance(gradient(state, 0), 0.1)
    before = state.weights_sha256()
    with pytest.raises(ValueError, match="shape"):
        state.advance(np.ones(state.parameters.size - 1, np.float32), 0.1)
    assert (state.step, state.weights_sha256()) == (1, before)


def test_a_restored_state_goes_on_like_the_one_it_is_a_copy_of(graph: Graph, state: State) -> None:
    for step in range(3):
        state.advance(gradient(state, step), 0.1)
    copy = State(graph, OPTIMIZER, seed=9)
    copy.restore(state.snapshot({}))
    for each in (state, copy):
        each.advance(gradient(each, 7), 0.1)
    assert (copy.step, copy.weights_sha256()) == (state.step, state.weights_sha256())


def test_a_snapshot_says_whose_it_is_and_of_which_step(state: State) -> None:
    assert {"uid": "u", "step": "0"}.items() <= metadata(state.snapshot({"uid": "u"})).items()


def test_another_models_snapshot_is_refused_and_changes_nothing(state: State) -> None:
    before = state.weights_sha256()
    other = save(
        {"layers.0.weight": np.zeros((4, 6), np.float32)},
        {"step": "5", "counters": metadata(state.snapshot({}))["counters"]},
    )
    with pytest.raises(BadState, match=r"layers\.0\.weight"):
        state.restore(other)
    assert (state.step, state.weights_sha256()) == (0, before)


def test_a_skipped_step_counts_and_changes_nothing(graph: Graph, state: State) -> None:
    state.advance(gradient(state, 0), 0.1)
    copy = State(graph, OPTIMIZER, seed=1)
    copy.restore(state.snapshot({}))
    copy.skip()
    copy.skip()
    assert (copy.step, copy.counters.skipped) == (3, 2)
    assert copy.weights_sha256() == state.weights_sha256()
    for each in (state, copy):
        each.advance(gradient(each, 1), 0.1)
    assert copy.counters.skipped == 0
    assert copy.weights_sha256() == state.weights_sha256()


def test_skipped_steps_are_in_the_snapshot(graph: Graph, state: State) -> None:
    state.skip()
    copy = State(graph, OPTIMIZER, seed=1)
    copy.restore(state.snapshot({}))
    assert (copy.step, copy.counters) == (state.step, state.counters)


AVERAGED = replace(OPTIMIZER, average=WeightAverage(0.5))


def test_the_average_follows_the_weights(graph: Graph) -> None:
    state = State(graph, AVERAGED, seed=1)
    expected = state.parameters.copy()
    for update, share in ((1, 1 - 2 / 11), (2, 1 - 3 / 12), (9, 0.5)):
        while state.step < update:
            before = state.weights.copy()
            state.advance(gradient(state, update), 0.1)
        expected = before + share * (state.parameters - before)
        np.testing.assert_allclose(state.weights, expected, rtol=1e-6)


def test_the_model_holds_the_average_and_the_hash_is_its(graph: Graph) -> None:
    averaged, plain = (State(graph, optimizer, seed=1) for optimizer in (AVERAGED, OPTIMIZER))
    assert averaged.weights_sha256() == plain.weights_sha256()
    for state in (averaged, plain):
        state.advance(gradient(state, 0), 0.1)
    assert averaged.parameters.tobytes() == plain.parameters.tobytes()
    assert averaged.weights_sha256() != plain.weights_sha256()
    model = load(averaged.model({}))
    parts = [model[part.name].ravel() for part in graph.parameters]
    assert np.concatenate(parts).tobytes() == averaged.weights.tobytes()
    assert not any(name.startswith("average") for name in model)


def test_a_restored_average_goes_on(graph: Graph) -> None:
    state, copy = (State(graph, AVERAGED, seed=seed) for seed in (1, 2))
    state.advance(gradient(state, 0), 0.1)
    copy.restore(state.snapshot({}))
    for each in (state, copy):
        each.advance(gradient(each, 1), 0.1)
    assert copy.weights_sha256() == state.weights_sha256()


def test_a_validation_loss_is_taken_note_of_once(graph: Graph, state: State) -> None:
    schedule = ReduceOnPlateauSchedule(patience=0)
    state.advance(gradient(state, 0), 0.1)
    state.measured(2, 0.1, schedule)  # not yet
    for _ in range(3):
        state.measured(1, 0.5, schedule)
    assert state.counters.plateau == Plateau(0.5)
    copy = State(graph, OPTIMIZER, seed=1)
    copy.restore(state.snapshot({}))
    copy.measured(1, 0.5, schedule)
    assert copy.counters == state.counters


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_knows_whether_it_is_finite(state: State, bad: float) -> None:
    assert state.is_finite
    state.parameters[3] = bad
    assert not state.is_finite


def test_the_hash_is_that_of_the_models_arrays_in_the_order_of_their_names(state: State) -> None:
    arrays = load(state.model({}))
    digest = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays)))
    assert digest.hexdigest() == state.weights_sha256()


def test_a_model_has_the_names_and_layouts_of_pytorch(state: State) -> None:
    shapes = {name: array.shape for name, array in load(state.model({})).items()}
    assert shapes == {
        "layers.0.weight": (4, 5),
        "layers.0.bias": (4,),
        "layers.2.weight": (3, 4),
        "layers.2.bias": (3,),
    }
