"""Layers that are made of others: attention between two products, the transformer block."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gradloom.worker.engine.arrays import UNKNOWN, Shape, divisors_near, text
from gradloom.worker.engine.attention import kv_heads
from gradloom.worker.engine.operation import ShapeMismatch
from gradloom.worker.engine.spec import (
    Attention,
    BlockActivation,
    BlockNorm,
    Dense,
    Dropout,
    Gelu,
    GeluApproximation,
    Initializer,
    Layer,
    LayerNorm,
    Relu,
    RmsNorm,
    Silu,
    TransformerBlock,
)

_TIMES_WIDER = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A layer inside of another: its word in paths, and what its parameters' names begin with."""

    word: str
    name: str
    layer: Layer


def projections(layer: Attention, shape: Shape) -> tuple[Part, Part]:
    """What stands before and after attention's heart, by the names of PyTorch's attention.

    shape is that of a row; raises ShapeMismatch.
    """
    _check(layer, shape)
    width, shared = shape[-1], kv_heads(layer)
    head = width // layer.heads if _is_known(layer, width) else UNKNOWN
    wide = (layer.heads + 2 * shared) * head if head != UNKNOWN else UNKNOWN
    return (
        Part("in_proj", "in_proj_", _dense(wide, layer.bias)),
        Part("out_proj", "out_proj.", _dense(width, layer.bias)),
    )


def branches(layer: TransformerBlock, width: int) -> tuple[tuple[Part, ...], ...]:
    """What a block adds to its input, one after the other, by the names of PyTorch's own block."""
    attention = Attention(layer.heads, layer.kv_heads, layer.causal, layer.rotary, layer.bias)
    hidden = layer.hidden or (UNKNOWN if width == UNKNOWN else _TIMES_WIDER * width)
    drop = (Part("dropout", "", Dropout(layer.dropout)),) if layer.dropout else ()
    return (
        (
            Part(layer.norm, "norm1.", _NORMS[layer.norm]()),
            Part("attention", "self_attn.", attention),
            *drop,
        ),
        (
            Part(layer.norm, "norm2.", _NORMS[layer.norm]()),
            Part("dense", "linear1.", _dense(hidden, layer.bias)),
            Part(layer.activation, "", _ACTIVATIONS[layer.activation]),
            Part("dense", "linear2.", _dense(width, layer.bias)),
            *drop,
        ),
    )


_NORMS: Mapping[BlockNorm, Callable[[], Layer]] = {
    BlockNorm.LAYER_NORM: LayerNorm,
    BlockNorm.RMS_NORM: RmsNorm,
}
_ACTIVATIONS: Mapping[BlockActivation, Layer] = {
    BlockActivation.GELU_TANH: Gelu(GeluApproximation.TANH),
    BlockActivation.GELU: Gelu(),
    BlockActivation.RELU: Relu(),
    BlockActivation.SILU: Silu(),
}


def _dense(units: int, bias: bool) -> Dense:
    return Dense(units, bias, Initializer.GLOROT_UNIFORM)


def _is_known(layer: Attention, width: int) -> bool:
    return width != UNKNOWN and layer.heads > 0 and kv_heads(layer) > 0


def _check(layer: Attention, shape: Shape) -> None:
    if len(shape) != 2:
        sentence = f"attention needs rows of shape (tokens, width), gets {text(shape)}: "
        raise ShapeMismatch(sentence + "put it after an embedding.", shape)
    if not _is_known(layer, shape[-1]):
        return
    for whole, part, field in (
        (shape[-1], layer.heads, "heads"),
        (layer.heads, kv_heads(layer), "kv_heads"),
    ):
        if whole % part:
            subject = f"{whole} heads are" if field == "kv_heads" else f"{whole} is"
            sentence = f"{subject} not divisible by {part} {field}: "
            raise ShapeMismatch(sentence + f"use {divisors_near(part, whole)}.", shape, field)
    _check_pairs(layer, shape)


def _check_pairs(layer: Attention, shape: Shape) -> None:
    head = shape[-1] // layer.heads
    if layer.rotary and head % 2:
        sentence = f"rotary turns pairs of numbers, a head of {head} cannot be paired: "
        raise ShapeMismatch(sentence + "use fewer heads or another width.", shape, "heads")
