"""Attention with its softmax fused: a line of scores at a time, masks and all.

N stands for rows, L for the lines of scores of a row (heads times tokens), T for tokens.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from dataclasses import replace
from typing import Any

import numpy as np

from gradloom.worker.engine import attention as twin
from gradloom.worker.engine.arrays import Array, Buffer
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.exponential import exp
from gradloom.worker.engine.kernels.reductions import dot, largest, total
from gradloom.worker.engine.kernels.short_attention import Products
from gradloom.worker.engine.operation import Call, Operation, Shapes
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.rotary import turn
from gradloom.worker.engine.spec import Attention

# A score that no sum of others comes near.
_HIDDEN = -1e30

# Any: a NumPy scalar of float32 or float64, by which Numba compiles the function.
Number = Any


@kernel
def _softmax(s_NLT: Array, mask_NT: Array, scale: Number, is_causal: bool, is_masked: bool) -> None:
    """Probabilities in place of scores; all 0 where nothing may be seen."""
    N, L, T = s_NLT.shape
    for n in range(N):
        mask = mask_NT[n if is_masked else 0]
        for line in range(L):
            seen = line % T + 1 if is_causal else T
            # Whole lanes, since they are faster.
            wide = min((seen + 7) // 8 * 8, T)
            s = s_NLT[n, line, :wide]
            s[seen:] = _HIDDEN
            if is_masked:
                for t in range(seen):
                    s[t] = s[t] if mask[t] != 0 else type(s[0])(_HIDDEN)
            top = largest(s)
            for t in range(wide):
                s[t] = exp((s[t] - top) * scale)
            s_NLT[n, line, seen:] = 0
            if is_masked:
                for t in range(seen):
                    s[t] = s[t] if mask[t] != 0 else type(s[0])(0)
            whole = total(s)
            share = type(s[0])(1) / whole if whole > 0 else type(s[0])(0)
            # A total that is no number is told.
            share = whole if whole != whole else share
            for t in range(wide):
                s[t] *= share


@kernel
def _softmax_vjp(ds_NLT: Array, p_NLT: Array, scale: Number, is_causal: bool) -> None:
    """p (dp - Σ p dp) scale in place of dp."""
    N, L, T = p_NLT.shape
    for n in range(N):
        for line in range(L):
            seen = line % T + 1 if is_causal else T
            ds_NLT[n, line, seen:] = 0
            wide = min((seen + 7) // 8 * 8, T)
            ds, p = ds_NLT[n, line, :wide], p_NLT[n, line, :wide]
            mean = dot(ds, p)
            for t in range(wide):
                ds[t] = p[t] * (ds[t] - mean) * scale


def _scratch(layer: Attention, inputs: Shapes) -> tuple[Buffer, ...]:
    """The twin's, and keys or values with their axes exchanged."""
    numbers = twin.kv_heads(layer) * twin.head_width(layer, inputs)
    return *twin.ATTENTION.scratch(layer, inputs), Buffer((numbers, inputs[0][0]))


def _forward(call: Call[Attention], _key: Key | None) -> None:
    heads, masks = twin.turned(call), call.inputs[1:]
    p_NKGTT = twin.scores(call, call.saved[0])
    products = Products(call)
    if products.suit:
        products.scores()
    else:
        np.matmul(heads.queries, heads.keys.swapaxes(-1, -2), out=p_NKGTT)
    mask_NT = masks[0] if masks else call.scratch[1].reshape(1, -1)
    scale = call.output.dtype.type(heads.scale)
    _softmax(_lines(call.saved[0]), mask_NT, scale, call.layer.causal, bool(masks))
    if products.suit:
        products.mixture()
    else:
        np.matmul(p_NKGTT, heads.values, out=twin.mixture(call, call.output))


def _vjp(call: Call[Attention]) -> None:
    dqkv, products = call.input_gradients[0], Products(call)
    if dqkv is None or not products.suit:
        twin.vjp(call, _softmax_gradient)
        return
    twin.no_gradient_of_the_mask(call)
    products.probability_gradients()
    _softmax_gradient(call, twin.heads_before(call).scale)
    products.input_gradients(dqkv)
    if call.layer.rotary:
        turn(*twin.turning(call, dqkv), back=True)


def _softmax_gradient(call: Call[Attention], scale: float) -> None:
    dtype = call.output.dtype.type
    arrays = _lines(call.scratch[0]), _lines(call.saved[0])
    _softmax_vjp(*arrays, dtype(scale), call.layer.causal)


def _lines(scores: Array) -> Array:
    return scores.reshape(len(scores), -1, scores.shape[-1])


ATTENTION: Operation[Attention] = replace(
    twin.ATTENTION, forward=_forward, vjp=_vjp, keeps=("input",), scratch=_scratch
)
