"""The heart of self-attention: from queries, keys and values side by side to their mixture.

N stands for rows, T for tokens, K for heads of keys and values, G for the heads that share one, D
for the width of a head. Queries stand first, then keys, then values, head by head.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from gradloom.worker.engine.arrays import UNKNOWN, Array, Buffer, Shape, fits, text
from gradloom.worker.engine.operation import Call, Flops, Operation, ShapeMismatch, Shapes
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.rotary import turn
from gradloom.worker.engine.spec import Attention


def kv_heads(layer: Attention) -> int:
    """The heads of keys and values."""
    return layer.heads if layer.kv_heads is None else layer.kv_heads


def head_width(layer: Attention, inputs: Shapes) -> int:
    """The numbers of one head; inputs are those of the operation."""
    return inputs[0][-1] // (layer.heads + 2 * kv_heads(layer))


def _shape(layer: Attention, inputs: Shapes) -> Shape:
    tokens, width = inputs[0]
    for mask in inputs[1:]:
        if not fits(mask, (tokens,)):
            sentence = f"The mask of {tokens} tokens has the shape {text(mask)}: "
            raise ShapeMismatch(sentence + f"give one of shape ({tokens}).", (tokens, UNKNOWN))
    if width == UNKNOWN or layer.heads < 1 or kv_heads(layer) < 1:
        return (tokens, UNKNOWN)
    return (tokens, layer.heads * head_width(layer, inputs))


def _flops(layer: Attention, inputs: Shapes) -> Flops:
    """Products of all pairs of tokens, even where a mask leaves them out."""
    scores = layer.heads * inputs[0][0] ** 2
    product = 2 * scores * head_width(layer, inputs)
    return Flops(2 * product + 5 * scores, 4 * product + 4 * scores)


def _saved(layer: Attention, inputs: Shapes) -> tuple[Buffer, ...]:
    """Probabilities; and, where they turn, the turned queries and keys."""
    tokens, width = inputs[0]
    probabilities = Buffer((layer.heads, tokens, tokens))
    if not layer.rotary:
        return (probabilities,)
    values = kv_heads(layer) * head_width(layer, inputs)
    return probabilities, Buffer((tokens, width - values))


def _scratch(layer: Attention, inputs: Shapes) -> tuple[Buffer, ...]:
    """Like the probabilities, a number for each of their rows, two like the input, which are 0."""
    tokens, width = inputs[0]
    return (
        Buffer((layer.heads, tokens, tokens)),
        Buffer((layer.heads, tokens, 1)),
        Buffer((tokens, width)),
        Buffer((tokens, width)),
        Buffer((tokens,), np.bool_),
    )


class Heads:
    """Views of an array's queries, keys and values, each of shape (N, K, G or 1, T, D)."""

    def __init__(self, call: Call[Attention], array: Array, values: Array | None = None) -> None:
        layer, shared = call.layer, kv_heads(call.layer)
        self._width = head_width(layer, tuple(x.shape[1:] for x in call.inputs))
        first, second = layer.heads * self._width, (layer.heads + shared) * self._width
        self.queries = self._view(array[..., :first], shared, layer.heads // shared)
        self.keys = self._view(array[..., first:second], shared, 1)
        self.values = self._view((array if values is None else values)[..., second:], shared, 1)

    @property
    def scale(self) -> float:
        """What scores are multiplied by."""
        return 1 / math.sqrt(self._width)

    def _view(self, array: Array, shared: int, group: int) -> Array:
        split = array.reshape(*array.shape[:2], shared, group, self._width)
        return split.transpose(0, 2, 3, 1, 4)


def _forward(call: Call[Attention], _key: Key | None) -> None:
    heads = turned(call)
    p_NKGTT, total_NKGT1 = scores(call, call.saved[0]), scores(call, call.scratch[1])
    np.matmul(heads.queries, heads.keys.swapaxes(-1, -2), out=p_NKGTT)
    np.multiply(p_NKGTT, heads.scale, out=p_NKGTT)
    _hide(call, p_NKGTT)
    _softmax(p_NKGTT, total_NKGT1)
    np.matmul(p_NKGTT, heads.values, out=mixture(call, call.output))


def turned(call: Call[Attention]) -> Heads:
    """The heads to compare; written to saved where they turn."""
    qkv = call.inputs[0]
    if not call.layer.rotary:
        return Heads(call, qkv)
    turned = call.saved[1]
    np.copyto(turned, qkv[..., : turned.shape[-1]])
    turn(*turning(call, turned))
    return Heads(call, turned, qkv)


def heads_before(call: Call[Attention]) -> Heads:
    """Those that the forward pass compared."""
    qkv = call.inputs[0]
    return Heads(call, call.saved[1], qkv) if call.layer.rotary else Heads(call, qkv)


def turning(call: Call[Attention], array: Array) -> tuple[Array, tuple[Array, Array]]:
    """Queries and keys by head, and scratch for half of them, twice."""
    heads = call.layer.heads + kv_heads(call.layer)
    width = head_width(call.layer, tuple(x.shape[1:] for x in call.inputs))
    split = array[..., : heads * width].reshape(*array.shape[:2], heads, width)
    count, shape = heads * width // 2, (*array.shape[:2], heads, width // 2)
    first, second = (part[..., :count].reshape(shape) for part in call.scratch[2:4])
    return split, (first, second)


def _hide(call: Call[Attention], scores_NKGTT: Array) -> None:
    """Makes the scores of what may not be seen -∞."""
    if call.layer.causal:
        np.copyto(scores_NKGTT, -math.inf, where=_later(scores_NKGTT.shape[-1]))
    for mask_NT in call.inputs[1:]:
        padding_NT = call.scratch[4]
        np.equal(mask_NT, 0, out=padding_NT)
        np.copyto(scores_NKGTT, -math.inf, where=padding_NT[:, None, None, None])


@lru_cache(maxsize=64)
def _later(tokens: int) -> Array:
    """Whether the second token stands after the first."""
    return np.triu(np.ones((tokens, tokens), np.bool_), 1)


def _softmax(scores_NKGTT: Array, total_NKGT1: Array) -> None:
    """All 0 where nothing may be seen."""
    limits = np.finfo(scores_NKGTT.dtype)
    np.maximum.reduce(scores_NKGTT, axis=-1, keepdims=True, out=total_NKGT1)
    np.maximum(total_NKGT1, limits.min, out=total_NKGT1)
    np.subtract(scores_NKGTT, total_NKGT1, out=scores_NKGTT)
    np.exp(scores_NKGTT, out=scores_NKGTT)
    np.add.reduce(scores_NKGTT, axis=-1, keepdims=True, out=total_NKGT1)
    np.maximum(total_NKGT1, limits.tiny, out=total_NKGT1)
    np.divide(scores_NKGTT, total_NKGT1, out=scores_NKGTT)


def _vjp(call: Call[Attention]) -> None:
    vjp(call, _softmax_vjp)


def vjp(call: Call[Attention], softmax_vjp: Callable[[Call[Attention], float], None]) -> None:
    """The products around softmax_vjp, which makes ds of dp in the first scratch array."""
    no_gradient_of_the_mask(call)
    dqkv = call.input_gradients[0]
    if dqkv is None:
        return
    heads, d = heads_before(call), Heads(call, dqkv)
    p_NKGTT, ds_NKGTT = scores(call, call.saved[0]), scores(call, call.scratch[0])
    dy_NKGTD = mixture(call, call.output_gradient)
    np.matmul(dy_NKGTD, heads.values.swapaxes(-1, -2), out=ds_NKGTT)
    softmax_vjp(call, heads.scale)
    np.matmul(ds_NKGTT, heads.keys, out=d.queries)
    addend = Heads(call, call.scratch[2])
    _share(ds_NKGTT, heads.queries, d.keys, addend.keys)
    _share(p_NKGTT, dy_NKGTD, d.values, addend.values)
    if call.layer.rotary:
        turn(*turning(call, dqkv), back=True)


def _softmax_vjp(call: Call[Attention], scale: float) -> None:
    """With s the scores: ds = p (dp - Σ p dp), where Σ p dp = Σ y dy over a head's numbers."""
    p_NKGTT, ds_NKGTT = scores(call, call.saved[0]), scores(call, call.scratch[0])
    np.subtract(ds_NKGTT, _means(call), out=ds_NKGTT)
    np.multiply(ds_NKGTT, p_NKGTT, out=ds_NKGTT)
    np.multiply(ds_NKGTT, scale, out=ds_NKGTT)


def no_gradient_of_the_mask(call: Call[Attention]) -> None:
    """A mask is no number that could be a little larger: 0 where somebody asks."""
    for gradient in call.input_gradients[1:]:
        if gradient is not None:
            gradient.fill(0)


def _means(call: Call[Attention]) -> Array:
    room, mean = call.scratch[2].reshape(-1), scores(call, call.scratch[1])
    product = room[: call.output.size].reshape(call.output.shape)
    np.multiply(call.output, call.output_gradient, out=product)
    np.add.reduce(mixture(call, product), axis=-1, keepdims=True, out=mean)
    return mean


def _share(left_NKGTT: Array, right_NKGTD: Array, out_NK1TD: Array, addend_NK1TD: Array) -> None:
    """Leftᵀ right, summed over the heads that share one, in order."""
    for group, (left, right) in enumerate(_groups(left_NKGTT, right_NKGTD)):
        product = addend_NK1TD if group else out_NK1TD
        np.matmul(left.swapaxes(-1, -2), right, out=product[:, :, 0])
        if group:
            np.add(out_NK1TD, addend_NK1TD, out=out_NK1TD)


def _groups(left_NKGTT: Array, right_NKGTD: Array) -> Iterator[tuple[Array, Array]]:
    for group in range(left_NKGTT.shape[2]):
        yield left_NKGTT[:, :, group], right_NKGTD[:, :, group]


def scores(call: Call[Attention], array: Array) -> Array:
    """A view of shape (N, K, G, T, 1 or T) of an array like the probabilities."""
    shared = kv_heads(call.layer)
    return array.reshape(len(array), shared, call.layer.heads // shared, *array.shape[2:])


def mixture(call: Call[Attention], array: Array) -> Array:
    """A view of shape (N, K, G, T, D) of an array like the output."""
    shared, heads = kv_heads(call.layer), call.layer.heads
    width = array.shape[-1] // heads
    split = array.reshape(*array.shape[:2], shared, heads // shared, width)
    return split.transpose(0, 2, 3, 1, 4)


ATTENTION: Operation[Attention] = Operation(
    rowwise=True,
    forward=_forward,
    vjp=_vjp,
    flops=_flops,
    shape=_shape,
    keeps=("input", "output"),
    saved=_saved,
    scratch=_scratch,
    choices=lambda _layer: (0, 2),
    arity=(1, 2),
)
