"""Rotary positions: pairs of numbers turned by an angle that grows with the position.

T stands for tokens, P for the pairs of a head. A pair is a number of the first half of a head and
the one as far into the second half.
"""

# Capital letters in names are axes.
# ruff: noqa: N806

import math
from functools import lru_cache

import numpy as np

from gradloom.worker.engine.arithmetic import cosine, root_power
from gradloom.worker.engine.arrays import Array

_BASE = 10_000.0


@lru_cache(maxsize=64)
def turns(tokens: int, pairs: int, dtype: np.dtype[np.generic]) -> tuple[Array, Array]:
    """Cosine and sine, of shape (T, P), of position × 10000^(-pair / P) (Su et al., 2021)."""
    rates = [1 / (root_power(_BASE, pair / pairs) * math.pi) for pair in range(pairs)]
    half_turns = [[(token * rate) % 2 for rate in rates] for token in range(tokens)]
    cosines = [[_cosine(angle) for angle in row] for row in half_turns]
    sines = [[_cosine((angle + 1.5) % 2) for angle in row] for row in half_turns]
    return np.array(cosines, dtype), np.array(sines, dtype)


def _cosine(half_turns: float) -> float:
    return cosine(half_turns if half_turns <= 1 else 2 - half_turns)


def turn(heads: Array, scratch: tuple[Array, Array], *, back: bool = False) -> None:
    """Turn heads of shape (N, T, heads, 2 P) in place; scratch has the shape (N, T, heads, P)."""
    pairs = heads.shape[-1] // 2
    first, second = heads[..., :pairs], heads[..., pairs:]
    cos_TP, sin_TP = turns(heads.shape[1], pairs, heads.dtype)
    cos_T1P, sin_T1P = cos_TP[:, None], sin_TP[:, None]
    for half, part in zip((first, second), scratch, strict=True):
        np.multiply(half, sin_T1P, out=part)
        np.multiply(half, cos_T1P, out=half)
    away, towards = (np.add, np.subtract) if back else (np.subtract, np.add)
    away(first, scratch[1], out=first)
    towards(second, scratch[0], out=second)
