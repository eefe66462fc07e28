"""Compiled operations against their NumPy twins, and against central differences."""

from collections.abc import Iterator

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.gradient_check import check_gradients, fill_rows
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Float, Plan
from gradloom.worker.engine.random import CHECK, Key, normal
from gradloom.worker.engine.spec import (
    Attention,
    Dense,
    Embedding,
    Flatten,
    Gelu,
    GeluApproximation,
    Layer,
    MeanSquaredError,
    Model,
    Relu,
    Residual,
    Sigmoid,
    Silu,
    Tanh,
    Target,
    TransformerBlock,
)
from gradloom.worker.engine.specimens import SPECIMENS

ROWS = 5

# Chains of layers, each of which a fusion joins.
CHAINS: dict[str, tuple[Layer, ...]] = {
    "dense_relu": (Dense(9), Relu()),
    "dense_gelu": (Dense(9), Gelu(), Dense(7, bias=False), Gelu(GeluApproximation.TANH)),
    "dense_silu": (Dense(9), Silu()),
    "dense_tanh": (Dense(9, bias=False), Tanh()),
    "dense_sigmoid": (Dense(9), Sigmoid()),
    "dense_add": (Residual((Tanh(), Dense(8))), Residual((Dense(8, bias=False),))),
}


def graph(layers: tuple[Layer, ...], shape: Shape) -> Graph:
    """The layers between others that take and give gradients."""
    before: tuple[Layer, ...] = () if isinstance(layers[0], Embedding) else (Dense(shape[-1]),)
    model = Model((*before, *layers, Flatten(), Dense(3)))
    return build_graph(model, MeanSquaredError(), shape, Target("numbers", shape=(3,)))


def specimens() -> Iterator[tuple[str, Layer, Shape]]:
    for word, specimen in SPECIMENS.items():
        if FAST.get(word) is not OPERATIONS.get(word) or word == "transformer_block":
            for layer in specimen.layers:
                for shape in specimen.shapes:
                    yield word, layer, shape


def computed(made: Graph, operations: Operations, dtype: Float) -> dict[str, Array]:
    plan = Plan(made, ROWS, dtype, input_gradient=True, operations=operations)
    fill_rows(plan, ROWS, seed=1)
    count = made.parameter_count
    noise = 0.1 * normal(Key(2, CHECK), count)
    plan.parameters[:count] = initial_parameters(made, 3)[:count] + noise.astype(np.float32)
    plan.value_and_grad(ROWS, Key(4, CHECK))
    gradient, towards = plan.gradient.copy(), plan.input_gradient(ROWS).copy()
    return {"output": plan.predict(ROWS), "gradient": gradient, "data": towards}


def hold_to_the_twin(made: Graph) -> None:
    for dtype, tolerance in ((np.float32, 2e-5), (np.float64, 1e-10)):
        expected = computed(made, OPERATIONS, dtype)
        found = computed(fuse(made, FUSIONS), FAST, dtype)
        for name in expected:
            scale = max(1.0, float(np.abs(expected[name]).max()))
            assert np.abs(found[name] - expected[name]).max() < tolerance * scale, name


def hold_to_differences(made: Graph) -> None:
    errors = check_gradients(fuse(made, FUSIONS), rows=ROWS, operations=FAST)
    assert max(error.relative_error for error in errors) < 1e-6


CASES = list(specimens())


@pytest.mark.parametrize(("layer", "shape"), [case[1:] for case in CASES], ids=str)
def test_a_kernel_computes_what_its_twin_does(layer: Layer, shape: Shape) -> None:
    hold_to_the_twin(graph((layer,), shape))


@pytest.mark.parametrize(("layer", "shape"), [case[1:] for case in CASES], ids=str)
def test_the_vjp_of_a_kernel_is_the_gradient(layer: Layer, shape: Shape) -> None:
    hold_to_differences(graph((layer,), shape))


def test_every_fusion_of_a_dense_layer_has_a_chain() -> None:
    assert {name for chain, name in FUSIONS.items() if chain[0] == "dense"} == set(CHAINS)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_computes_what_its_layers_do(name: str) -> None:
    for shape in ((8,), (3, 8)):
        made = graph(CHAINS[name], shape)
        assert name in [node.operation for node in fuse(made, FUSIONS).nodes]
        hold_to_the_twin(made)
        hold_to_differences(made)


# Attention whose products are made in tiles.
SHORT: dict[str, tuple[tuple[Layer, ...], Shape]] = {
    "causal": ((Attention(4, causal=True),), (32, 64)),
    "shared and turned": ((Attention(4, kv_heads=2, causal=True, rotary=True),), (16, 64)),
    "both ways": ((Attention(2, kv_heads=1),), (32, 32)),
    "padded": ((Embedding(5, 32, padding_index=0), TransformerBlock(2, causal=True)), (16,)),
}


@pytest.mark.parametrize(("layers", "shape"), SHORT.values(), ids=SHORT)
def test_attention_over_short_rows_is_made_in_tiles(
    layers: tuple[Layer, ...], shape: Shape
) -> None:
    made = graph(layers, shape)
    hold_to_the_twin(made)
    hold_to_differences(made)
