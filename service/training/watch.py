"""Who is waited for in a run, and until when: what the runner's clock is held against."""

from dataclasses import dataclass

from gradloom.service.training.events import Silent

# Who does not look for longer than this cannot have heard anything either.
_BLINK_SECONDS = 1.0


@dataclass(slots=True)
class _Asked:
    """A worker that owes an answer: when it was last heard, and where it stood in the round."""

    round: int
    patience: float
    heard: float
    stood: int = -1


class Watch:
    """Times at which workers are started, are late, and the round is. now is monotonic seconds."""

    def __init__(self) -> None:
        self._starts: dict[int, float] = {}
        self._deadlines: dict[int, float] = {}
        self._asked: dict[int, _Asked] = {}
        self._looked = 0.0
        self._seconds = self._round = float("inf")

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
        self._asked.pop(worker, None)

    def asked(self, worker: int, round: int, now: float, patience: float) -> None:
        """A worker owes an answer; it may be silent for so long."""
        self._asked[worker] = _Asked(round, patience, now)

    def answered(self, worker: int) -> None:
        """A worker owes nothing more."""
        self._asked.pop(worker, None)

    def alive(self, worker: int, now: float, *, reads: bool) -> None:
        """A worker is at work. While it waits for data the round has its whole time before it."""
        if asked := self._asked.get(worker):
            asked.heard = now
            self._round = max(self._round, now + self._seconds) if reads else self._round

    def stands(self, worker: int, round: int, step: int) -> None:
        """Where a worker says that it stands in a round."""
        asked = self._asked.get(worker)
        if asked and asked.round == round:
            asked.stood = max(asked.stood, step)

    def stood(self, worker: int) -> int:
        """Where a worker that owes an answer last said that it stood; -1 where it did not."""
        asked = self._asked.get(worker)
        return asked.stood if asked else -1

    def expect(self, now: float, seconds: float) -> None:
        """The round has to end in so many seconds."""
        self._seconds, self._round = seconds, now + seconds

    def looked(self, now: float) -> None:
        """Workers were listened to. While the service was busy none of them was silent."""
        if now - self._looked > _BLINK_SECONDS:
            for asked in self._asked.values():
                asked.heard = now
        self._looked = now

    def silent(self, now: float) -> tuple[Silent, ...]:
        """Workers that owe an answer and say nothing for longer than they may; each said once."""
        found = {w: a for w, a in self._asked.items() if now - a.heard > a.patience}
        for worker in found:
            del self._asked[worker]
        return tuple(
            Silent(worker, asked.round, now - asked.heard, asked.stood, now)
            for worker, asked in found.items()
        )

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
