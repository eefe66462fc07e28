"""Whether a worker's memory grows without end: what it took up, round after round. Pure."""

from dataclasses import dataclass

ROUNDS = 100
GROWN = 1.2
# Each half of the rounds has at least this share of the growth: what is allocated once is no leak.
_STEADY = 0.25


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes at the end of the newest rounds."""

    sizes: tuple[int, ...] = ()

    def after(self, size: int) -> "Growth":
        """The growth with one more round."""
        return Growth((*self.sizes, size)[-ROUNDS - 1 :])

    @property
    def is_a_leak(self) -> bool:
        """Whether it has grown by much, and steadily."""
        if len(self.sizes) <= ROUNDS:
            return False
        first, middle, last = self.sizes[0], self.sizes[ROUNDS // 2], self.sizes[-1]
        least = min(middle - first, last - middle)
        return last > GROWN * first and least > _STEADY * (last - first)

    def __str__(self) -> str:
        first, last = (size // 1_000_000 for size in (self.sizes[0], self.sizes[-1]))
        return f"from {first:,} MB to {last:,} MB in {ROUNDS} rounds"
