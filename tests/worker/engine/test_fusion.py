"""Fusing changes which operation computes a chain, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.dense import DENSE
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Fused, Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, DROPOUT, Key, normal
from gradloom.worker.engine.spec import (
    Dense,
    Dropout,
    Layer,
    Model,
    Relu,
    Residual,
    SoftmaxCrossEntropy,
    Tanh,
    Target,
)

CHAIN = {("dense", "relu"): "dense_relu"}


def forward(call: Call[Fused], key: Key | None) -> None:
    DENSE.forward(call, key)  # type: ignore[arg-type]
    np.maximum(call.output, 0, out=call.output)


def through_relu(call: Call[Fused]) -> None:
    np.multiply(call.output_gradient, call.output > 0, out=call.output_gradient)


def vjp(call: Call[Fused]) -> None:
    through_relu(call)
    DENSE.vjp(call)  # type: ignore[arg-type]
    assert DENSE.vjp_parameters is not None
    DENSE.vjp_parameters(call)  # type: ignore[arg-type]


FUSED = {
    **OPERATIONS,
    "dense_relu": replace(
        DENSE,
        forward=forward,
        vjp=vjp,
        vjp_parameters=None,
        rowwise=False,
        keeps=("input", "output"),
    ),
}


def graph(*layers: Layer) -> Graph:
    return build_graph(Model(layers), SoftmaxCrossEntropy(), (6,), Target("labels", classes=4))


MODEL = graph(
    Dense(8), Relu(), Dropout(0.4), Residual((Dense(8), Relu(), Dense(8))), Relu(), Dense(4)
)


def test_a_chain_becomes_one_node_at_the_place_of_its_last() -> None:
    fused = fuse(MODEL, CHAIN)
    names = ["input", "dense_relu", "dropout", "dense_relu", "dense", "add", "relu", "dense"]
    assert [node.operation for node in fused.nodes] == names
    assert fused.nodes[1].layer == Fused((Dense(8), Relu()))
    assert fused.parameters == MODEL.parameters


def test_a_chain_whose_middle_is_read_elsewhere_stays() -> None:
    read_twice = graph(Dense(6), Residual((Relu(), Dense(6))), Dense(4))
    assert fuse(read_twice, CHAIN) == read_twice


def test_what_the_last_reads_beside_the_chain_is_read_by_the_fused_node() -> None:
    fused = fuse(MODEL, {("dense", "add"): "dense_add"})
    (node,) = [node for node in fused.nodes if node.operation == "dense_add"]
    assert [fused.nodes[source].operation for source in node.inputs] == ["relu", "dropout"]


def test_longer_chains_go_before_their_parts_where_they_stand_first_in_the_table() -> None:
    layers = graph(Dense(6), Relu(), Tanh(), Dense(4))
    fused = fuse(layers, {("dense", "relu", "tanh"): "all", ("dense", "relu"): "dense_relu"})
    assert [node.operation for node in fused.nodes] == ["input", "all", "dense"]


def trained(graph: Graph) -> bytes:
    plan = Plan(graph, 9, operations=FUSED)
    plan.parameters[...] = initial_parameters(MODEL, 1)
    plan.inputs(9)[...] = normal(Key(1, CHECK), 54).reshape(9, 6)
    plan.value_and_grad(9, Key(1, DROPOUT))
    return plan.gradient.tobytes()


def test_the_fused_graph_drops_the_same_units_and_comes_to_the_same_gradient() -> None:
    assert trained(fuse(MODEL, CHAIN)) == trained(MODEL)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_through_fused_nodes_are_right(seed: int) -> None:
    errors = check_gradients(fuse(MODEL, CHAIN), seed=seed, operations=FUSED)
    assert max(error.relative_error for error in errors) < 1e-6
