"""Who is waited for in a run, and until when: what the runner's clock is held against."""


class Watch:
    """Times at which workers are started, are late, and the round is. now is monotonic seconds."""

    def __init__(self) -> None:
        self._starts: dict[int, float] = {}
        self._deadlines: dict[int, float] = {}
        self._round = float("inf")

    def start(self, worker: int, time: float) -> None:
        """A worker is to be started at this time."""
        self._starts[worker] = time

    def started(self, worker: int, deadline: float) -> None:
        """A worker has been started, and has to be ready by then."""
        self._starts.pop(worker, None)
        self._deadlines[worker] = deadline

    def ready(self, worker: int) -> None:
        """A worker is ready."""
        self._deadlines.pop(worker, None)

    def stopped(self, worker: int) -> None:
        """A worker is waited for no more, nor started if it was to be."""
        self._starts.pop(worker, None)
        self._deadlines.pop(worker, None)

    def expect(self, deadline: float) -> None:
        """The round has to end by then."""
        self._round = deadline

    def due(self, now: float) -> list[int]:
        """Workers whose time to be started has come."""
        return [worker for worker, time in self._starts.items() if now >= time]

    def late(self, now: float) -> list[int]:
        """Workers that should have been ready."""
        return [worker for worker, deadline in self._deadlines.items() if now > deadline]

    def is_overdue(self, now: float) -> bool:
        """Whether the round should have ended; said once for each time that is set."""
        if now <= self._round:
            return False
        self._round = float("inf")
        return True

    def patience(self, now: float, most: float) -> float:
        """How long nothing has to be done but to listen."""
        times = (*self._starts.values(), *self._deadlines.values(), self._round)
        return max(0.0, min(most, *(time - now for time in times)))
