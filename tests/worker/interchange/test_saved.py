"""A model file is built again as it was, or refused."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
from safetensors.numpy import load, save

from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.spec import (
    Adam,
    Concat,
    Dense,
    Model,
    ModelNode,
    Optimizer,
    SoftmaxCrossEntropy,
    Target,
)
from gradloom.worker.interchange.saved import BadModelFile, read_saved, torch_weights
from gradloom.worker.state import State
from gradloom.worker.tensor_file import BadTensorFile, metadata

MODEL, LOSS = Model((Dense(4), Dense(3))), SoftmaxCrossEntropy()


@pytest.fixture
def content() -> bytes:
    graph = build_graph(MODEL, LOSS, (5,), Target("labels", classes=3))
    return State(graph, Optimizer(Adam(0.1)), seed=1).model({"uid": "u-1"})


def test_a_model_is_read_as_it_was_saved(content: bytes) -> None:
    saved = read_saved(content, MODEL, LOSS)
    assert (saved.graph.input_shape, saved.graph.output_shape) == ((5,), (3,))
    assert saved.metadata["uid"] == "u-1"
    arrays = load(content)
    for part in saved.graph.parts:
        assert saved.vector[part.place].tolist() == arrays[part.name].reshape(-1).tolist()


def test_what_pytorch_gets_are_the_same_arrays(content: bytes) -> None:
    written = torch_weights(read_saved(content, MODEL, LOSS))
    before, after = load(content), load(written)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert metadata(written)["format"] == "pt"


def test_several_inputs_keep_their_names() -> None:
    nodes = (ModelNode("end", ("a", "b"), (Concat(), Dense(3))),)
    model, inputs = Model(nodes=nodes, outputs=("end",)), {"a": (5,), "b": (2,)}
    graph = build_graph(model, LOSS, inputs, Target("labels", classes=3))
    content = State(graph, Optimizer(Adam(0.1)), seed=1).model({})
    saved = read_saved(content, model, LOSS)
    assert [(node.path, node.shape) for node in saved.graph.inputs] == [
        ("data.a", (5,)),
        ("data.b", (2,)),
    ]


def changed(content: bytes, **facts: str) -> bytes:
    return save(load(content), {**metadata(content), **facts})


@pytest.mark.parametrize(
    "facts",
    [
        {"inputs": "5"},
        {"inputs": "[[5]]"},
        {"inputs": "{"},
        {"inputs": "[" * 100_000},
        {"target": "[]"},
        {"target": json.dumps({"kind": "labels", "clases": 3})},
        {"target": json.dumps({"kind": "numbers", "shape": 3})},
    ],
)
def test_facts_that_make_no_sense_are_refused(content: bytes, facts: Mapping[str, str]) -> None:
    with pytest.raises(BadModelFile, match="does not say what goes into the model"):
        read_saved(changed(content, **facts), MODEL, LOSS)


def test_weights_of_another_shape_are_refused(content: bytes) -> None:
    with pytest.raises(BadModelFile, match=r"layers.0.weight has the shape \(4, 5\)"):
        read_saved(changed(content, inputs="[6]"), MODEL, LOSS)


def test_other_files_are_refused() -> None:
    with pytest.raises(BadTensorFile):
        read_saved(b"PK", MODEL, LOSS)
