"""Scales inputs, every column for itself, fitted on the training rows.

There is one formula for every way: float32((float64(x) - offset) / scale).
    none      offset 0, scale 1
    standard  offset mean, scale standard deviation: √(Σ(x - mean)² / rows)
    unit      offset smallest, scale largest - smallest
A constant column is scaled by 1. Sums are float64: NumPy's over the rows of a block of 1,024,
block after block; first for the mean, then for the squares of the differences.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradloom.worker.data.blocks import Column, taken
from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import Input
from gradloom.worker.data.spec import Normalize
from gradloom.worker.data.split import Rows

BLOCK_ROWS = 1_024

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """What is taken from each column and what the rest is divided by, of the input's shape.

    constant marks the columns found to have one value in all training rows; none does not look.
    """

    offset: Floats
    scale: Floats
    constant: NDArray[np.bool_]


def fit(source: Input, rows: Rows, normalize: Normalize) -> Scaling:
    """The scaling of an input, joined from those of its blocks."""
    fitted = [FITS[normalize](block, rows) for block in source.blocks]
    offset, scale, constant = (
        np.concatenate(parts, axis=-1) for parts in zip(*fitted, strict=True)
    )
    return Scaling(offset, scale, constant)


def apply(x: Array, offset: Floats, scale: Floats, scratch: Floats, out: Array) -> None:
    """Write the scaled rows of x to out, rounded once; scratch has the shape of x."""
    np.subtract(x, offset, out=scratch)
    np.divide(scratch, scale, out=out, casting="same_kind")


Fitted = tuple[Floats, Floats, NDArray[np.bool_]]


def _fit_none(array: Column, _rows: Rows) -> Fitted:
    shape = array.shape[1:]
    return np.zeros(shape), np.ones(shape), np.zeros(shape, np.bool_)


def _fit_standard(array: Column, rows: Rows) -> Fitted:
    lowest, highest = _extremes(array, rows)
    mean = _sum(array, rows, lambda block: block) / len(rows)
    squares = _sum(array, rows, lambda block: np.square(block - mean))
    return _scaled(mean, np.sqrt(squares / len(rows)), lowest == highest)


def _fit_unit(array: Column, rows: Rows) -> Fitted:
    lowest, highest = _extremes(array, rows)
    return _scaled(lowest, highest - lowest, lowest == highest)


FITS: dict[Normalize, Callable[[Column, Rows], Fitted]] = {
    Normalize.NONE: _fit_none,
    Normalize.STANDARD: _fit_standard,
    Normalize.UNIT: _fit_unit,
}


def _scaled(offset: Floats, scale: Floats, constant: NDArray[np.bool_]) -> Fitted:
    # A spread below 1e-162 squares to 0; a constant column's mean may be off by a rounding.
    return offset, np.where(constant | (scale == 0), 1.0, scale), constant


def _extremes(array: Column, rows: Rows) -> tuple[Floats, Floats]:
    lowest, highest = _first(array, rows), _first(array, rows)
    for block in _blocks(array, rows):
        np.minimum(lowest, block.min(axis=0), out=lowest)
        np.maximum(highest, block.max(axis=0), out=highest)
    return lowest, highest


def _first(array: Column, rows: Rows) -> Floats:
    return np.array(taken(array, rows[:1])[0], np.float64)


def _sum(array: Column, rows: Rows, term: Callable[[Floats], Floats]) -> Floats:
    total = np.zeros(array.shape[1:])
    for block in _blocks(array, rows):
        total += term(block).sum(axis=0)
    return total


def _blocks(array: Column, rows: Rows) -> Iterator[Floats]:
    """The rows in order, as float64, so many at a time."""
    for begin in range(0, len(rows), BLOCK_ROWS):
        yield taken(array, rows[begin : begin + BLOCK_ROWS]).astype(np.float64)
