"""All randomness of a run, from one seed: numbers, and points where rare things happen."""

from random import Random

# A point is active in this share of runs, and then fires so often.
ACTIVE = 0.25
FIRES = 0.25


class Chance(Random):
    """A generator whose draws depend on the seed and on the order of the questions alone."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.is_calm = False
        self._active: dict[str, bool] = {}

    def fires(self, point: str, share: float = FIRES) -> bool:
        """Whether the rare thing happens here and now; never once it is calm."""
        if point not in self._active:
            self._active[point] = self.random() < ACTIVE
        return self._active[point] and not self.is_calm and self.random() < share

    def between(self, least: float, most: float) -> float:
        """A number of seconds, short ones as likely as long ones on a scale of magnitudes."""
        return least * (most / least) ** self.random()
