"""Which rows of a stream are held out, and the order in which an epoch visits the others.

All of it follows from the seed, the epoch and the spec; no row's place needs those before it.
    split   of every block its share, drawn by (seed, block)
    order   blocks drawn by (seed, epoch); so many of them in a row are a window, whose training
            rows are drawn by (seed, epoch, window)
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import numpy as np

from gradloom.worker.data.blocks import Blocking, Rows
from gradloom.worker.data.split import order, validation_rows
from gradloom.worker.engine.random import ORDER, SPLIT, Key, permutation


class Order(Protocol):
    """In which order the rows of a reader are visited."""

    def visited(self, epoch: int, first: int, last: int) -> Rows:
        """The positions that an epoch visits as its first … last-1."""


class Whole:
    """All rows shuffled together, as one permutation an epoch."""

    def __init__(self, rows: int, seed: int) -> None:
        self._drawn = lru_cache(maxsize=1)(lambda epoch: order(rows, seed, epoch))

    def visited(self, epoch: int, first: int, last: int) -> Rows:
        """See Order."""
        return self._drawn(epoch)[first:last]


class Selection:
    """Some rows of every block, counted from 0 over all of them."""

    def __init__(
        self, blocking: Blocking, counts: Sequence[int], chosen: Callable[[int], Rows]
    ) -> None:
        """Counts are those of each block, chosen the rows of one, from 0 and rising."""
        self.blocking = blocking
        self._begins = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        self._chosen = chosen

    def __len__(self) -> int:
        return int(self._begins[-1])

    def take(self, positions: Rows) -> Rows:
        """The numbers of the rows at these positions; raises IndexError where one is not there."""
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"there are {len(self):,} rows, from 0")
        numbers = np.searchsorted(self._begins, positions, side="right") - 1
        rows = np.empty(len(positions), np.int64)
        for number in np.unique(numbers):
            here = numbers == number
            local = positions[here] - self._begins[number]
            rows[here] = self._chosen(int(number))[local] + self.blocking.bounds(int(number))[0]
        return rows

    def span(self, number: int) -> tuple[int, int]:
        """The positions that a block's rows take: the first, and their end."""
        return int(self._begins[number]), int(self._begins[number + 1])


class Split:
    """The rows of every block on both sides; those of the newest blocks are remembered."""

    def __init__(self, blocking: Blocking, fraction: float, seed: int, remembered: int) -> None:
        self._blocking = blocking
        self._fraction = fraction
        self._seed = seed
        self._sides = lru_cache(maxsize=remembered)(self._drawn)

    def _held_out(self, number: int) -> int:
        begin, end = self._blocking.bounds(number)
        return validation_rows(end, self._fraction) - validation_rows(begin, self._fraction)

    def _drawn(self, number: int) -> tuple[Rows, Rows]:
        begin, end = self._blocking.bounds(number)
        if not self._held_out(number):
            return np.arange(end - begin), np.empty(0, np.int64)
        drawn = permutation(Key(self._seed, SPLIT, step=number), end - begin)
        count = self._held_out(number)
        return np.sort(drawn[count:]), np.sort(drawn[:count])

    def trained(self, number: int) -> Rows:
        """The rows of a block that are trained on, from 0 and rising."""
        return self._sides(number)[0]

    def held_out(self, number: int) -> Rows:
        """The rows of a block that are not."""
        return self._sides(number)[1]

    @property
    def training(self) -> Selection:
        """All rows that are trained on."""
        counts = [end - begin - held for begin, end, held in self._counts()]
        return Selection(self._blocking, counts, self.trained)

    @property
    def validation(self) -> Selection:
        """All rows that are held out."""
        return Selection(self._blocking, [held for *_, held in self._counts()], self.held_out)

    def _counts(self) -> list[tuple[int, int, int]]:
        numbers = range(self._blocking.count)
        return [(*self._blocking.bounds(number), self._held_out(number)) for number in numbers]


class Windows:
    """Blocks in random order, so many of them shuffled together at a time.

    want is told which blocks are needed now and next whenever that changes: those of the window
    that is visited, and of the one after it.
    """

    def __init__(
        self,
        rows: Selection,
        window_blocks: int,
        seed: int,
        want: Callable[[Sequence[int]], None] = lambda _: None,
    ) -> None:
        self._rows = rows
        self._window_blocks = window_blocks
        self._seed = seed
        self._want = want
        self._wanted: tuple[int, int] | None = None
        self._windows = lru_cache(maxsize=2)(self._drawn)
        self._places = lru_cache(maxsize=2)(self._shuffled)

    def visited(self, epoch: int, first: int, last: int) -> Rows:
        """See Order."""
        _, begins = self._windows(epoch)
        touched = range(
            int(np.searchsorted(begins, first, side="right")) - 1,
            int(np.searchsorted(begins, max(last - 1, first), side="right")),
        )
        self._tell(epoch, touched)
        parts = [
            self._places(epoch, window)[max(first - begin, 0) : last - begin]
            for window in touched
            if (begin := int(begins[window])) < last
        ]
        return np.concatenate(parts)

    def blocks(self, epoch: int, window: int) -> tuple[int, ...]:
        """The blocks of a window."""
        return self._windows(epoch)[0][window]

    def _drawn(self, epoch: int) -> tuple[tuple[tuple[int, ...], ...], Rows]:
        """The blocks of each window of an epoch, and where its rows begin; the end is the last."""
        drawn = permutation(Key(self._seed, ORDER, step=epoch), self._rows.blocking.count).tolist()
        cuts = pairwise([*range(0, len(drawn), self._window_blocks), len(drawn)])
        windows = tuple(tuple(drawn[begin:end]) for begin, end in cuts)
        counts = [sum(end - begin for begin, end in map(self._rows.span, w)) for w in windows]
        return windows, np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))

    def _shuffled(self, epoch: int, window: int) -> Rows:
        spans = map(self._rows.span, self.blocks(epoch, window))
        places = np.concatenate([np.arange(begin, end) for begin, end in spans])
        key = Key(self._seed, ORDER, step=epoch, shard=1 + window)
        return places[permutation(key, len(places))]

    def _tell(self, epoch: int, touched: range) -> None:
        if self._wanted == (epoch, touched.stop):
            return
        self._wanted = (epoch, touched.stop)
        now = [number for window in touched for number in self.blocks(epoch, window)]
        # Where a batch touches two windows there is no room for a third.
        self._want([*now, *self._following(epoch, touched.stop)] if len(touched) == 1 else now)

    def _following(self, epoch: int, window: int) -> tuple[int, ...]:
        is_last = window == len(self._windows(epoch)[0])
        return self.blocks(epoch + 1, 0) if is_last else self.blocks(epoch, window)
