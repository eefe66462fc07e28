"""Virtual time: what is to happen stands in a heap, and the clock jumps from one to the next."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

Action = Callable[[], None]


class Clock:
    """Time passes only in step; things of one moment happen in the order they were planned."""

    def __init__(self) -> None:
        self.time = 0.0
        self.jump = timedelta(0)
        self._order = count()
        self._plan: list[tuple[float, int, Action]] = []

    def after(self, seconds: float, action: Action) -> None:
        """Has something happen later."""
        heapq.heappush(self._plan, (self.time + seconds, next(self._order), action))

    def step(self) -> bool:
        """Lets the next thing happen; False where nothing is planned."""
        if not self._plan:
            return False
        self.time, _, action = heapq.heappop(self._plan)
        action()
        return True

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self.time

    def now(self) -> datetime:
        """The time of day, which may jump."""
        return _BEGINNING + timedelta(seconds=self.time) + self.jump
