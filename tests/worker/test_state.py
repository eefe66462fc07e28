"""The state of a step stays whole while the next one is written, and survives its snapshot."""

import hashlib
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load, save

from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.spec import (
    Adam,
    Dense,
    Model,
    Optimizer,
    Relu,
    Sgd,
    SoftmaxCrossEntropy,
    Target,
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
    assert metadata(state.snapshot({"uid": "u"})) == {"uid": "u", "step": "0"}


def test_another_models_snapshot_is_refused_and_changes_nothing(state: State) -> None:
    before = state.weights_sha256()
    other = save({"layers.0.weight": np.zeros((4, 6), np.float32)}, {"step": "5"})
    with pytest.raises(BadState, match=r"layers\.0\.weight"):
        state.restore(other)
    assert (state.step, state.weights_sha256()) == (0, before)


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
