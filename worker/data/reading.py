"""What a worker reads just now, so that it can say what it waits for, and what it does meanwhile.

A read that stalls keeps its thread; that the process lives is for another one to say. There is one
worker in a process, so what it waits for has one place.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic

# A read of which nothing has come for so long is given up.
LIMIT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Read:
    """One read that is waited for, and since when."""

    path: str
    since: float

    @property
    def is_stalled(self) -> bool:
        """Whether nothing will come of it any more."""
        return monotonic() - self.since > LIMIT_SECONDS


class Reads:
    """The read that this process waits for, if any. One thread sets it, any may look."""

    def __init__(self) -> None:
        self.newest: Read | None = None

    @contextmanager
    def of(self, path: str) -> Iterator[None]:
        """Something is read meanwhile."""
        self.newest = Read(path, monotonic())
        try:
            yield
        finally:
            self.newest = None


READS = Reads()


def _nothing() -> None:
    """Nobody waits for one who trains in no formation."""


# What the thread that waits for rows does again and again until they come.
_MEANWHILE: ContextVar[Callable[[], None]] = ContextVar("meanwhile", default=_nothing)


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Has this thread do something whenever it waits for rows; what it raises ends the wait."""
    token = _MEANWHILE.set(action)
    try:
        yield
    finally:
        _MEANWHILE.reset(token)


def go_on_waiting() -> None:
    """Called now and then by who waits for rows."""
    _MEANWHILE.get()()
