"""Whether inputs can number the entries of a table: whole numbers from 0, and how large."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradloom.worker.data.blocks import pieces
from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import Input

BLOCK_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class Found:
    """A number, and the row in which it stands, as the subject of a sentence: Row 812."""

    value: float
    row: str


@dataclass(frozen=True, slots=True)
class Indices:
    """The largest number, and the first that is no index because it has a fraction or a sign."""

    largest: Found
    odd: Found | None


def find_indices(source: Input, noun: str, first_row: int = 0) -> Indices:
    """What an input holds; noun is what a row is called, first_row the number of the first."""
    return joined(
        [
            _of_block(piece, noun, first_row + begin)
            for block in source.blocks
            for begin, piece in pieces(block)
        ]
    )


def joined(parts: Sequence[Indices]) -> Indices:
    """What several hold together."""
    largest = max((part.largest for part in parts), key=lambda found: found.value)
    return Indices(largest, next((part.odd for part in parts if part.odd), None))


def _of_block(array: Array, noun: str, first_row: int) -> Indices:
    rows = array.reshape(len(array), -1)
    parts = [
        _of_rows(rows[first : first + BLOCK_ROWS], first_row + first, noun)
        for first in range(0, len(rows), BLOCK_ROWS)
    ]
    return joined(parts)


def _of_rows(rows: Array, first: int, noun: str) -> Indices:
    def found(place: int) -> Found:
        row, column = divmod(place, rows.shape[1])
        return Found(rows[row, column].item(), f"{noun} {first + row:,}")

    return Indices(found(int(rows.argmax())), _odd(rows, found))


def _odd(rows: Array, found: Callable[[int], Found]) -> Found | None:
    if rows.dtype.kind in "bu":
        return None
    is_odd = rows < 0
    if rows.dtype.kind == "f":
        is_odd |= rows != np.floor(rows)
    return found(int(is_odd.argmax())) if is_odd.any() else None
