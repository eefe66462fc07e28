"""Which rows of a plan are summed together, and where their gradients go."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shard:
    """So many rows, after those of the shards before it.

    Their gradient is written into a register; then for each (into, addend) of merges the second
    register is added to the first.
    """

    rows: int
    register: int = 0
    merges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The rows first … last-1 of a plan's arrays."""

    first: int
    last: int

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.last - self.first

    @property
    def slice(self) -> slice:
        """Their place in an array."""
        return slice(self.first, self.last)


def spans(shards: tuple[Shard, ...]) -> tuple[Span, ...]:
    """The rows of each shard."""
    found, first = [], 0
    for shard in shards:
        found.append(Span(first, first + shard.rows))
        first += shard.rows
    return tuple(found)
