"""The round under way and the one before: whose answers are in, and how long its phases took."""

from gradloom.worker.messages import Answer


class Rounds:
    """Answers by worker; now is in seconds of a monotonic clock.

    roots are the answers that make the newest step, as they came. step_seconds are the phases of
    the worker that took longest over it, and exchange: the rest of the round.
    """

    def __init__(self) -> None:
        self.roots: tuple[bytes, ...] = ()
        self.step_seconds: dict[str, float] = {}
        self._number = 0
        self._begun = 0.0
        self._answers: dict[int, tuple[Answer, bytes]] = {}
        self._slowest: dict[str, float] = {}

    def begin(self, number: int, now: float) -> bool:
        """Begins a round; False, and nothing changes, where that one has begun."""
        if number == self._number:
            return False
        self._number, self._begun = number, now
        self._answers, self._slowest = {}, {}
        return True

    def add(self, worker: int, answer: Answer, encoded: bytes, seconds: dict[str, float]) -> None:
        """Takes a worker's answer, unless it is to an older round."""
        if answer.round != self._number:
            return
        self._answers[worker] = (answer, encoded)
        if sum(seconds.values()) > sum(self._slowest.values()):
            self._slowest = seconds

    def commit(self, now: float) -> None:
        """The round's answers make a step."""
        self.roots = tuple(encoded for _, encoded in self._answers.values())
        busy = sum(self._slowest.values())
        self.step_seconds = {**self._slowest, "exchange": max(now - self._begun - busy, 0.0)}

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answers that are in."""
        return tuple(answer for answer, _ in self._answers.values())
