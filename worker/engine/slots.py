"""Which arrays may share memory: lifetimes in, slots out."""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gradloom.worker.engine.arrays import Array, Shape, size

_ALIGNMENT = 64  # bytes of a cache line


@dataclass(frozen=True, slots=True)
class Name:
    """Which array of which node; place counts its saved arrays, or its inputs for addends.

    An addend is a second gradient towards the same node, scratch belongs to all nodes in turn.
    """

    kind: Literal["output", "gradient", "addend", "saved", "scratch"]
    node: int
    place: int = 0


@dataclass(frozen=True, slots=True)
class Lifetime:
    """An array and the ticks from which and to which, both counted, its contents matter."""

    name: Name
    row_bytes: int
    born: int
    dies: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The slot of every array, and how many bytes a row each slot needs."""

    slots: Mapping[Name, int]
    row_bytes: tuple[int, ...]


def share(lifetimes: Iterable[Lifetime]) -> Layout:
    """Give each array the free slot nearest to its size, or a new one."""
    slots: dict[Name, int] = {}
    sizes: list[int] = []
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for life in sorted(lifetimes, key=lambda life: life.born):
        while busy and busy[0][0] < life.born:
            free.append(heapq.heappop(busy)[1])
        slot = _take(free, sizes, life.row_bytes)
        sizes[slot] = max(sizes[slot], life.row_bytes)
        slots[life.name] = slot
        heapq.heappush(busy, (life.dies, slot))
    return Layout(slots, tuple(sizes))


def _take(free: list[int], sizes: list[int], row_bytes: int) -> int:
    if not free:
        sizes.append(row_bytes)
        return len(sizes) - 1
    slot = min(free, key=lambda slot: (abs(sizes[slot] - row_bytes), slot))
    free.remove(slot)
    return slot


def empty(rows: int, row_bytes: int) -> Array:
    """Bytes for so many rows, aligned to a cache line."""
    memory = np.empty(rows * row_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + rows * row_bytes]


def view(memory: Array, rows: int, shape: Shape, dtype: type[np.generic]) -> Array:
    """The leading bytes of a slot as an array of so many rows."""
    count = rows * size(shape)
    return memory[: count * np.dtype(dtype).itemsize].view(dtype).reshape(rows, *shape)
