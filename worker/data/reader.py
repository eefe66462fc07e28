"""Gathers rows of a dataset into a plan's buffers, scaled and in the plan's type."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradloom.worker.data.blocks import Column, take, taken
from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import Dataset, Input
from gradloom.worker.data.normalize import Floats, Scaling, apply
from gradloom.worker.data.split import Rows
from gradloom.worker.data.windows import Order, Selection


@dataclass(frozen=True, slots=True, eq=False)
class Stripe:
    """One block of an input, where it goes along the last axis, and room to gather and scale it.

    place is that of its input in the model. is_plain: scaling changes nothing.
    """

    place: int
    block: Column
    begin: int
    end: int
    offset: Floats
    scale: Floats
    gathered: Array
    scaled: Floats
    is_plain: bool

    def fill(self, rows: Rows, out: Array) -> None:
        """Write these rows of the block to its place in out."""
        count = len(rows)
        target = out[..., self.begin : self.end]
        if self.is_plain and target.dtype == self.block.dtype and target.flags.c_contiguous:
            take(self.block, rows, target)
            return
        take(self.block, rows, self.gathered[:count])
        apply(self.gathered[:count], self.offset, self.scale, self.scaled[:count], target)


class Reader:
    """Some rows of a dataset, counted from 0 in the order in which they were given.

    It owns scratch for as many rows as it was ever asked for at once, so one thread uses it.
    """

    def __init__(
        self,
        dataset: Dataset,
        rows: Rows | Selection,
        scalings: Sequence[Scaling],
        order: Order | None = None,
    ) -> None:
        """Rows are numbers of the dataset's rows; there is a scaling for each input.

        An order is given where the rows are visited epoch after epoch.
        """
        self._dataset = dataset
        self._rows = rows
        self._order = order
        self._scalings = scalings
        self._stripes: tuple[Stripe, ...] = ()
        self._room = 0

    @property
    def rows(self) -> int:
        """How many rows there are to read."""
        return len(self._rows)

    @property
    def target(self) -> Array:
        """The answers to all rows, a copy; of a stream, to those of its first block."""
        column = self._dataset.target
        rows = self.rows
        if isinstance(self._rows, Selection):
            rows = min(rows, self._rows.blocking.block_rows)
        return taken(column, self._rows.take(np.arange(rows)))

    def visited(self, epoch: int, first: int, last: int) -> Rows:
        """The positions that an epoch visits as its first … last-1."""
        if self._order is None:
            return np.arange(first, last)
        return self._order.visited(epoch, first, last)

    def numbers(self, positions: Rows) -> Rows:
        """Which rows of the dataset stand at these positions."""
        return self._rows.take(positions)

    def fill(self, positions: Rows, inputs: Sequence[Array], target: Array) -> None:
        """Write the rows at these positions to all buffers, of as many rows, in any float type.

        Raises IndexError for a position that is not there.
        """
        rows = self._rows.take(positions)
        self._reserve(len(rows))
        for stripe in self._stripes:
            stripe.fill(rows, inputs[stripe.place])
        np.copyto(target, taken(self._dataset.target, rows), casting="same_kind")

    def _reserve(self, room: int) -> None:
        if room > self._room:
            parts = enumerate(zip(self._dataset.inputs, self._scalings, strict=True))
            self._stripes = tuple(
                stripe
                for place, (source, scaling) in parts
                for stripe in _stripes(place, source, scaling, room)
            )
            self._room = room


def _stripes(place: int, source: Input, scaling: Scaling, room: int) -> Iterator[Stripe]:
    begin = 0
    for block in source.blocks:
        end = begin + block.shape[-1]
        shape = (room, *block.shape[1:])
        offset = np.ascontiguousarray(scaling.offset[..., begin:end])
        scale = np.ascontiguousarray(scaling.scale[..., begin:end])
        yield Stripe(
            place,
            block,
            begin,
            end,
            offset,
            scale,
            np.empty(shape, block.dtype),
            np.empty(shape),
            is_plain=not offset.any() and bool((scale == 1).all()),
        )
        begin = end
