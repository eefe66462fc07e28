"""Who computes which rows of which batch: whole numbers only."""

from dataclasses import dataclass
from itertools import pairwise

MOST_DEFAULT_SHARDS = 16
LEAST_SHARD_ROWS = 32
# Rows that are evaluated together; part of the result, so it is fixed.
EVALUATION_ROWS = 256

Bounds = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """The places first to last - 1 in the order of an epoch."""

    epoch: int
    first: int
    last: int


def shard_bounds(batch_rows: int, shards: int) -> Bounds:
    """First row and end of each shard: consecutive rows, lengths that differ by 1 at most.

    Where a batch has fewer rows than there are shards, some shards are empty.
    """
    cuts = [shard * batch_rows // shards for shard in range(shards + 1)]
    return tuple(pairwise(cuts))


def default_shards(batch_size: int) -> int:
    """The largest power of two up to 16 that leaves every shard 32 rows, at least 1."""
    shards = MOST_DEFAULT_SHARDS
    while shards > 1 and batch_size // shards < LEAST_SHARD_ROWS:
        shards //= 2
    return shards


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Batches that hold every row once; the last may be smaller."""
    return -(-rows // batch_size)


def place(step: int, rows: int, batch_size: int) -> Batch:
    """The batch of a step, counted from 0 over all epochs."""
    epoch, number = divmod(step, steps_per_epoch(rows, batch_size))
    return Batch(epoch, number * batch_size, min((number + 1) * batch_size, rows))


def block_bounds(rows: int) -> Bounds:
    """First row and end of each block of an evaluation; the last may be smaller."""
    return tuple(
        (begin, min(begin + EVALUATION_ROWS, rows)) for begin in range(0, rows, EVALUATION_ROWS)
    )


def most_rows(batch_size: int, shards: int, evaluation_rows: int) -> int:
    """Rows that a worker computes at once: those of the largest shard or block."""
    bounds = (*shard_bounds(batch_size, shards), *block_bounds(evaluation_rows))
    return max(last - first for first, last in bounds)
