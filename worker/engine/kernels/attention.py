"""Attention with its softmax fused: a line of scores at a time, masks and all.

N stands for rows, L for the lines of scores of a row (heads times tokens), T for tokens.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from dataclasses import replace

import numpy as np

from gradloom.worker.engine import attention as twin
from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.exponential import exp
from gradloom.worker.engine.kernels.reductions import dot, largest, total
from gradloom.worker.engine.operation import Call, Operation
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import Attention

# A score that no sum of others comes near.
_HIDDEN = -1e30


@kernel
def _softmax(s_NLT: Array, mask_NT: Array, scale: float, is_causal: bool, is_masked: bool) -> None:
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
                s[t] = exp((s[t] - top) * type(s[0])(scale))
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
def _softmax_vjp(ds_NLT: Array, p_NLT: Array, scale: float, is_causal: bool) -> None:
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
                ds[t] = p[t] * (ds[t] - mean) * type(p[0])(scale)


def _forward(call: Call[Attention], _key: Key | None) -> None:
    heads = twin.turned(call)
    p_NKGTT = twin.scores(call, call.saved[0])
    np.matmul(heads.queries, heads.keys.swapaxes(-1, -2), out=p_NKGTT)
    mask_NT = call.inputs[1] if len(call.inputs) > 1 else call.scratch[1].reshape(1, -1)
    is_masked = len(call.inputs) > 1
    _softmax(_lines(call.saved[0]), mask_NT, heads.scale, call.layer.causal, is_masked)
    np.matmul(p_NKGTT, heads.values, out=twin.mixture(call, call.output))


def _softmax_gradient(call: Call[Attention], scale: float) -> None:
    _softmax_vjp(_lines(call.scratch[0]), _lines(call.saved[0]), scale, call.layer.causal)


def _vjp(call: Call[Attention]) -> None:
    twin.vjp(call, _softmax_gradient)


def _lines(scores: Array) -> Array:
    return scores.reshape(len(scores), -1, scores.shape[-1])


ATTENTION: Operation[Attention] = replace(
    twin.ATTENTION, forward=_forward, vjp=_vjp, keeps=("input",)
)
