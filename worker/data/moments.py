"""What scaling needs to know of columns, gathered in one pass over rows that come in pieces.

Mean and sum of squares of pieces are joined as by Chan, Golub and LeVeque (1979), from the first
to the last, so that the pieces and their order decide the bits and nothing else does.
"""

import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.normalize import BLOCK_ROWS, Floats, Scaling
from gradloom.worker.data.spec import Normalize


class Moments:
    """Of each column: count, mean, squares of the differences from it, smallest and largest."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._rows = 0
        self._mean = np.zeros(shape)
        self._squares = np.zeros(shape)
        self._lowest = np.full(shape, np.inf)
        self._highest = np.full(shape, -np.inf)

    def add(self, rows: Array) -> None:
        """Take note of rows, in pieces of 1,024."""
        for begin in range(0, len(rows), BLOCK_ROWS):
            self._join(rows[begin : begin + BLOCK_ROWS].astype(np.float64))

    def _join(self, piece: Floats) -> None:
        count, before = len(piece), self._rows
        mean = piece.sum(axis=0) / count
        squares = np.square(piece - mean).sum(axis=0)
        self._rows = before + count
        away = mean - self._mean
        self._mean += away * (count / self._rows)
        self._squares += squares + np.square(away) * (before * count / self._rows)
        np.minimum(self._lowest, piece.min(axis=0), out=self._lowest)
        np.maximum(self._highest, piece.max(axis=0), out=self._highest)

    def scaling(self, normalize: Normalize) -> Scaling:
        """See the table of normalize.py."""
        shape, constant = self._mean.shape, self._lowest == self._highest
        match normalize:
            case Normalize.STANDARD:
                offset, scale = self._mean, np.sqrt(self._squares / self._rows)
            case Normalize.UNIT:
                offset, scale = self._lowest, self._highest - self._lowest
            case Normalize.NONE:
                return Scaling(np.zeros(shape), np.ones(shape), np.zeros(shape, np.bool_))
        return Scaling(offset, np.where(constant | (scale == 0), 1.0, scale), constant)
