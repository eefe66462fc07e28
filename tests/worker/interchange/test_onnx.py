"""Every operation as ONNX, run by another engine to the same numbers."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.spec import (
    Attention,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    LayerNorm,
    Positions,
    Relu,
    Residual,
    Tanh,
    TransformerBlock,
)
from gradloom.worker.interchange.onnx_file import OPSET, OUTPUT, onnx_model
from gradloom.worker.interchange.onnx_rules import RULES
from tests.worker.engine.graphs import CASES, Case, alone, rows, weights

TOLERANCE = 1e-5
ROWS = 5


def ours(graph: Graph, vector: Array, data: Array) -> Array:
    plan = Plan(graph, len(data))
    plan.read(vector)
    plan.inputs(len(data))[...] = data
    return plan.predict(len(data)).copy()


def theirs(graph: Graph, vector: Array, data: Array) -> Array:
    session = onnxruntime.InferenceSession(onnx_model(graph, vector, {"step": "3"}))
    (name,) = (each.name for each in session.get_inputs())
    (output,) = session.run([OUTPUT], {name: data})
    return output


def agree(graph: Graph, data: Array) -> None:
    vector = weights(graph)
    expected = ours(graph, vector, data)
    found = theirs(graph, vector, data)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * max(1, np.abs(expected).max())


def test_every_operation_has_a_rule() -> None:
    assert RULES.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("case", CASES)
def test_a_layer_comes_to_the_same_output(case: Case) -> None:
    agree(case.graph, case.rows(ROWS))


def test_the_cases_cover_every_operation() -> None:
    graphs = (case.values[0].graph for case in CASES)
    covered = {node.operation for graph in graphs for node in graph.nodes if node.inputs}
    assert covered == OPERATIONS.keys()


@pytest.mark.parametrize("count", [1, 7])
def test_a_whole_model_takes_any_number_of_rows(count: int) -> None:
    layers = (
        Dense(8),
        GroupNorm(2),
        Residual((Dense(8), Tanh(), Dropout(0.5))),
        Flatten(),
        Dense(6),
        Relu(),
        Residual((Residual((Dense(6),)),)),
        Dense(3),
    )
    agree(alone(layers, (4, 4, 3)), rows((4, 4, 3), count))


def test_padding_is_not_looked_at() -> None:
    layers = (
        Embedding(7, 8, padding_index=0),
        Positions(6),
        TransformerBlock(2, causal=True),
        Attention(4, kv_heads=2, rotary=True),
        LayerNorm(),
        Dense(7),
    )
    graph = alone(layers, (6,))
    # Rows that begin with padding: their first tokens see nothing at all.
    tokens = np.array([[0, 0, 1, 2, 3, 0], [4, 5, 6, 1, 0, 0], [0] * 6], np.float32)
    assert "padding_mask" in [node.operation for node in graph.nodes]
    agree(graph, tokens)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    graph = alone((Dense(2),), (3,))
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model(graph, weights(graph), {"step": "3"}))
    model = onnx.load(path)
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"step": "3"}
    assert "layers.0.bias" in {constant.name for constant in model.graph.initializer}
