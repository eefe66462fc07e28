"""Datasets whose columns lie elsewhere in blocks of rows, and whole again without a copy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradloom.worker.data.blocks import Blocking, Column, blocked, cut, row_bytes, rows_of, whole
from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import Dataset
from gradloom.worker.data.prepared import Datasets

# What stands for a block where it is not: the store's own kind of reference.
Reference = Any


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """What stands for a column whose blocks are elsewhere."""

    blocking: Blocking
    references: tuple[Reference, ...]


def packed(data: Datasets, block_bytes: int, put: Callable[[Array], Reference]) -> Datasets:
    """The datasets with a parcel in place of every column, the blocks given to put."""

    def away(column: Any) -> Any:
        array = whole(column)
        blocking = Blocking(len(array), rows_of(block_bytes, row_bytes(array)))
        return Parcel(blocking, tuple(map(put, cut(array, blocking))))

    return _changed(data, away)


def unpacked(data: Datasets, get: Callable[[Sequence[Reference]], Sequence[Array]]) -> Datasets:
    """The datasets that were packed; get gives blocks for references, in their order."""

    def back(parcel: Any) -> Column:
        return blocked(get(parcel.references), parcel.blocking)

    return _changed(data, back)


def total_bytes(data: Datasets) -> int:
    """What all columns take."""
    sizes: dict[int, int] = {}

    def measured(column: Any) -> Any:
        sizes[id(column)] = len(column) * row_bytes(column)
        return column

    _changed(data, measured)
    return sum(sizes.values())


def _changed(data: Datasets, change: Callable[[Any], Any]) -> Datasets:
    """The datasets with every column changed; what is one column stays one."""
    done: dict[int, Any] = {}

    def once(column: Any) -> Any:
        if id(column) not in done:
            done[id(column)] = change(column)
        return done[id(column)]

    test = _changed_one(data.test, once) if data.test else None
    return replace(data, data=_changed_one(data.data, once), test=test)


def _changed_one(data: Dataset, change: Callable[[Any], Any]) -> Dataset:
    return replace(
        data,
        inputs=tuple(replace(each, blocks=tuple(map(change, each.blocks))) for each in data.inputs),
        target=change(data.target),
        targets=tuple(map(change, data.targets)),
    )
