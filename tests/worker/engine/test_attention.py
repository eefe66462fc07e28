"""Attention against a loop over tokens, with every mask, and its gradient by differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.arrays import Array, Buffer
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.operation import Call, Operation
from gradloom.worker.engine.operations import OPERATIONS
from gradloom.worker.engine.random import Key, normal, words
from gradloom.worker.engine.rotary import turn
from gradloom.worker.engine.spec import (
    Attention,
    Embedding,
    Layer,
    MeanSquaredError,
    Model,
    Target,
    TransformerBlock,
)

RULES: Operation[Attention] = OPERATIONS["attention"]


def called(layer: Attention, qkv: Array, mask: Array | None) -> Call[Attention]:
    """A call that stands alone, as a plan of as many rows would make it."""
    inputs = (qkv,) if mask is None else (qkv, mask)
    shapes = tuple(array.shape[1:] for array in inputs)

    def made(buffer: Buffer) -> Array:
        shape = (len(qkv), *buffer.shape) if buffer.per_row else buffer.shape
        return np.full(shape, 77, buffer.dtype or qkv.dtype)

    output = made(Buffer(RULES.shape(layer, shapes)))
    return Call(
        number=1,
        layer=layer,
        inputs=inputs,
        output=output,
        parameters=(),
        saved=tuple(map(made, RULES.saved(layer, shapes))),
        scratch=tuple(map(made, RULES.scratch(layer, shapes))),
        output_gradient=np.zeros_like(output),
        input_gradients=tuple(map(np.zeros_like, inputs)),
        parameter_gradients=(),
        buffers=(),
        buffer_sums=(),
    )


def mixture(layer: Attention, qkv: Array, mask: Array | None) -> Array:
    """Token by token and head by head."""
    kv_heads = layer.kv_heads or layer.heads
    rows, tokens, width = qkv.shape
    head = width // (layer.heads + 2 * kv_heads)
    split = qkv.reshape(rows, tokens, -1, head).copy()
    turning = split[:, :, : layer.heads + kv_heads]
    if layer.rotary:
        half = (*turning.shape[:3], head // 2)
        turn(turning, (np.empty(half), np.empty(half)))
    result = np.zeros((rows, tokens, layer.heads, head))
    for row, token, query in np.ndindex(rows, tokens, layer.heads):
        shared = query * kv_heads // layer.heads
        seen = [
            other
            for other in range(tokens if not layer.causal else token + 1)
            if mask is None or mask[row, other]
        ]
        keys = split[row, seen, layer.heads + shared]
        values = split[row, seen, layer.heads + kv_heads + shared]
        weights = np.exp(keys @ split[row, token, query] / math.sqrt(head))
        if seen:
            result[row, token, query] = weights @ values / weights.sum()
    return result.reshape(rows, tokens, -1)


LAYERS = st.builds(
    lambda kv, group, causal, rotary: Attention(kv * group, kv, causal, rotary),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)


@given(
    layer=LAYERS,
    rows=st.integers(1, 3),
    tokens=st.integers(1, 6),
    masked=st.booleans(),
    seed=st.integers(0, 2**64 - 1),
)
@settings(derandomize=True, max_examples=40, deadline=None)
def test_attention_is_the_mixture_and_its_vjp_the_gradient(
    layer: Attention, rows: int, tokens: int, masked: bool, seed: int
) -> None:
    shape = rows, tokens, (layer.heads + 2 * (layer.kv_heads or 0)) * 4
    qkv = normal(Key(seed, 0), math.prod(shape)).reshape(shape)
    bits = (words(Key(seed, 1), rows * tokens) % np.uint64(2)).reshape(rows, tokens)
    mask = bits.astype(np.float64) if masked else None
    call = called(layer, qkv, mask)
    RULES.forward(call, None)
    assert call.output == pytest.approx(mixture(layer, qkv, mask), abs=1e-12)
    weights = normal(Key(seed, 2), call.output.size).reshape(call.output.shape)
    call.output_gradient[...] = weights
    RULES.vjp(call)
    direction = normal(Key(seed, 3), qkv.size).reshape(shape)
    above, below = (mixture(layer, qkv + h * direction, mask) for h in (1e-5, -1e-5))
    slope = ((above - below) * weights).sum() / 2e-5
    gradient, *of_mask = call.input_gradients
    assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-6, abs=1e-6)
    assert not any(array.any() for array in of_mask if array is not None)


def test_a_token_that_sees_nothing_puts_out_nothing() -> None:
    call = called(Attention(1), np.ones((1, 2, 3)), np.zeros((1, 2)))
    RULES.forward(call, None)
    assert not call.output.any()


def test_later_tokens_do_not_change_earlier_ones() -> None:
    qkv = normal(Key(0, 0), 2 * 5 * 12).reshape(2, 5, 12)
    first, second = called(Attention(2, causal=True), qkv, None), None
    RULES.forward(first, None)
    changed = qkv.copy()
    changed[:, 3:] += 1
    second = called(Attention(2, causal=True), changed, None)
    RULES.forward(second, None)
    assert np.array_equal(first.output[:, :3], second.output[:, :3])


def graph(*layers: Layer, width: int = 128) -> Graph:
    target = Target("numbers", shape=(8, width))
    return build_graph(Model(layers), MeanSquaredError(), (8, width), target)


def faults(*layers: Layer, width: int = 128) -> dict[str, str]:
    with pytest.raises(ModelError) as caught:
        graph(*layers, width=width)
    return {fault.field: fault.description for fault in caught.value.faults}


@pytest.mark.parametrize("layer", [Attention, TransformerBlock])
def test_b029_heads_that_do_not_divide_the_width_are_told(
    layer: type[Attention | TransformerBlock],
) -> None:
    word = {Attention: "attention", TransformerBlock: "transformer_block"}[layer]
    assert faults(layer(6)) == {
        f"model.layers[0].{word}.heads": "128 is not divisible by 6 heads: use 4 or 8."
    }
    assert faults(layer(8, kv_heads=3)) == {
        f"model.layers[0].{word}.kv_heads": "8 heads are not divisible by 3 kv_heads: use 2 or 4."
    }


def test_b029_heads_that_cannot_be_paired_are_told() -> None:
    assert faults(Attention(2, rotary=True), width=6) == {
        "model.layers[0].attention.heads": (
            "rotary turns pairs of numbers, a head of 3 cannot be paired: use fewer heads or "
            "another width."
        )
    }


def test_attention_over_rows_without_tokens_is_told() -> None:
    with pytest.raises(ModelError, match=r"needs rows of shape \(tokens, width\), gets \(4\)"):
        build_graph(Model((Attention(2),)), MeanSquaredError(), (4,), Target("numbers", shape=(4,)))


@pytest.mark.parametrize("heads", [0, -1])
def test_heads_below_one_are_one_fault(heads: int) -> None:
    assert faults(Attention(heads)) == {
        "model.layers[0].attention.heads": f"heads is {heads}: give at least 1."
    }


def test_padding_is_masked_where_an_embedding_says_what_it_is() -> None:
    target = Target("numbers", shape=(5, 4))
    made = build_graph(
        Model((Embedding(3, 4, padding_index=0), TransformerBlock(2))),
        MeanSquaredError(),
        (5,),
        target,
    )
    (mask,) = [i for i, node in enumerate(made.nodes) if node.operation == "padding_mask"]
    (attention,) = [node for node in made.nodes if node.operation == "attention"]
    assert attention.inputs[1] == mask
