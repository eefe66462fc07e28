"""The heart of self-attention in ONNX's elementary operators.

N stands for rows, T for tokens, K for heads of keys and values, G for the heads that share one, D
for the width of a head, P for half of it.
"""

# Capital letters in names are axes.
# ruff: noqa: N806

import math

import numpy as np

from gradloom.worker.engine.attention import head_width, kv_heads
from gradloom.worker.engine.rotary import turns
from gradloom.worker.interchange.onnx_part import Part
from gradloom.worker.interchange.onnx_writer import Writer

_HIDDEN = float(np.finfo(np.float32).min)


def attention(write: Writer, part: Part) -> str:
    """From queries, keys and values side by side to their mixture; a mask may come with them."""
    layer, shared = part.layer, kv_heads(part.layer)
    tokens, width = part.input_shapes[0][0], head_width(layer, part.input_shapes)
    group = layer.heads // shared
    sizes = write.integers(layer.heads * width, shared * width, shared * width)
    queries, keys, values = write.several("Split", (part.input, sizes), 3, axis=-1)
    if layer.rotary:
        queries = _turned(write, queries, tokens, layer.heads, width)
        keys = _turned(write, keys, tokens, shared, width)

    def by_head(value: str, heads: int, *order: int) -> str:
        split = write.reshaped(value, tokens, shared, heads, width)
        return write.add("Transpose", split, perm=list(order))

    q_NKGTD = by_head(queries, group, 0, 2, 3, 1, 4)
    k_NK1DT = by_head(keys, 1, 0, 2, 3, 4, 1)
    v_NK1TD = by_head(values, 1, 0, 2, 3, 1, 4)
    scores = write.add("MatMul", q_NKGTD, k_NK1DT)
    scaled = write.add("Mul", scores, write.number(1 / math.sqrt(width)))
    shares = _shares(write, part, scaled, tokens)
    mixed_NKGTD = write.add("MatMul", shares, v_NK1TD)
    return write.reshaped(write.add("Transpose", mixed_NKGTD, perm=[0, 3, 1, 2, 4]), *part.shape)


def _shares(write: Writer, part: Part, scores: str, tokens: int) -> str:
    """Softmax over what may be seen; all 0 where nothing may."""
    visible = _visible(write, part, tokens)
    for seen in visible:
        scores = write.add("Where", seen, scores, write.number(_HIDDEN))
    shares = write.add("Softmax", scores, axis=-1)
    for seen in visible:
        shares = write.add("Where", seen, shares, write.number(0.0))
    return shares


def _visible(write: Writer, part: Part, tokens: int) -> list[str]:
    """Whether a token (last axis but one) may see another (last axis), for each reason not to."""
    found = []
    if part.layer.causal:
        found.append(write.array(np.tril(np.ones((tokens, tokens), np.bool_))))
    for mask in part.inputs[1:]:
        is_padding = write.add("Equal", mask, write.number(0.0))
        found.append(write.reshaped(write.add("Not", is_padding), 1, 1, 1, tokens))
    return found


def _turned(write: Writer, value: str, tokens: int, heads: int, width: int) -> str:
    """Rotary positions: pairs of a head's halves, turned."""
    half = width // 2
    split = write.reshaped(value, tokens, heads, width)
    first, second = write.several("Split", (split, write.integers(half, half)), 2, axis=-1)
    cos_TP, sin_TP = turns(tokens, half, np.dtype(np.float32))
    cosine, sine = write.array(cos_TP[:, None]), write.array(sin_TP[:, None])

    def times(left: str, right: str) -> str:
        return write.add("Mul", left, right)

    turned = (
        write.add("Sub", times(first, cosine), times(second, sine)),
        write.add("Add", times(second, cosine), times(first, sine)),
    )
    return write.add("Concat", *turned, axis=-1)
