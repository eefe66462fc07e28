"""Blocks read by a thread of their own before they are needed, and held while they are.

A read that stalls must not stall more than its own thread: whoever waits for a block gives up
after a deadline, has another thread try, and in the end says what was not read.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from gradloom.worker.data.errors import DataUnreadable
from gradloom.worker.data.reading import READS, go_on_waiting

Held = TypeVar("Held")

# So often whoever waits for a block says that it lives.
_MOMENT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one try of a read may take, and how many tries there are."""

    seconds: float = 30.0
    tries: int = 3


@dataclass(slots=True, eq=False)
class _Shelf(Generic[Held]):
    """What both sides share: blocks wanted in order of need, those held, those that failed.

    turn is the number of the thread that reads; one with another number puts down what it has
    read and ends. So do all when it is closed.
    """

    load: Callable[[int], Held]
    tries: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    wanted: tuple[int, ...] = ()
    held: dict[int, Held] = field(default_factory=dict)
    failed: dict[int, Exception] = field(default_factory=dict)
    turn: int = 0
    progress: int = 0
    is_closed: bool = False

    def close(self) -> None:
        """Has the threads end."""
        with self.changed:
            self.is_closed, self.wanted = True, ()
            self.held.clear()
            self.changed.notify_all()

    def due(self) -> int | None:
        """The first block that is wanted and neither held nor failed."""
        there = (number for number in self.wanted if number not in self.held)
        return next((number for number in there if number not in self.failed), None)

    def serve(self, turn: int) -> None:
        """Reads what is wanted until another thread takes over."""
        while (number := self._next(turn)) is not None:
            loaded, failure = self._tried(number)
            with self.changed:
                if failure is not None and turn == self.turn:
                    self.failed[number] = failure
                elif loaded is not None and number in self.wanted:
                    self.held[number] = loaded
                    self.failed.pop(number, None)
                del loaded
                self.progress += 1
                self.changed.notify_all()

    def _next(self, turn: int) -> int | None:
        with self.changed:
            while turn == self.turn and not self.is_closed:
                if (number := self.due()) is not None:
                    return number
                self.changed.wait()
        return None

    def _tried(self, number: int) -> tuple[Held | None, Exception | None]:
        failure: Exception | None = None
        for _ in range(self.tries):
            try:
                return self.load(number), None
            except OSError as error:
                failure = error
            except Exception as error:
                # Whoever asks for the block gets it; nobody could catch it here.
                return None, error
        return None, failure


class ReadAhead(Generic[Held]):
    """Blocks by number, wanted before they are asked for. One thread asks.

    along gives what to hold while a block is asked for, where the order is that of the numbers;
    without it, want says so.
    """

    def __init__(
        self,
        load: Callable[[int], Held],
        what: str,
        along: Callable[[int], Sequence[int]] | None = None,
        patience: Patience = Patience(),
    ) -> None:
        """Load reads a block and may be called by several threads; what names the source."""
        self._shelf = _Shelf(load, patience.tries)
        self._what = what
        self._along = along
        self._patience = patience
        self._told_at = monotonic()
        self._is_started = False
        weakref.finalize(self, self._shelf.close)

    def want(self, numbers: Sequence[int]) -> None:
        """Which blocks to hold, in order of need; all others are let go."""
        shelf = self._shelf
        with shelf.changed:
            shelf.wanted = tuple(dict.fromkeys(numbers))
            for number in [each for each in shelf.held if each not in shelf.wanted]:
                del shelf.held[number]
            shelf.failed.clear()
            shelf.changed.notify_all()
        if not self._is_started:
            self._is_started = True
            self._take_over()

    def get(self, number: int) -> Held:
        """A block, waited for if need be. Raises DataUnreadable, DataChanged."""
        if self._along is not None:
            self._want_along(number, tuple(self._along(number)))
        elif number not in self._shelf.wanted:
            self.want((number, *self._shelf.wanted))
        return self._awaited(number)

    def _want_along(self, number: int, numbers: tuple[int, ...]) -> None:
        if self._shelf.wanted != numbers and number not in self._shelf.wanted[:1]:
            self.want(numbers)

    def _awaited(self, number: int) -> Held:
        shelf, tries = self._shelf, 1
        with shelf.changed:
            while number not in shelf.held:
                if number in shelf.failed:
                    raise _told(shelf.failed[number], self._what)
                if self._comes_on():
                    continue
                if tries == self._patience.tries:
                    raise DataUnreadable(_stalled(self._what, number, self._patience))
                tries += 1
                self._take_over()
            return shelf.held[number]

    def _comes_on(self) -> bool:
        """Waits as long as one try may take; whether the thread that reads got anywhere."""
        shelf, seen = self._shelf, self._shelf.progress
        until = monotonic() + self._patience.seconds
        with READS.of(self._what):
            while (left := until - monotonic()) > 0:
                has_changed = shelf.changed.wait(min(left, _MOMENT_SECONDS))
                self._tell()
                if has_changed or seen != shelf.progress:
                    return True
        return False

    def _tell(self) -> None:
        """Now and then, though one block after the other comes: many of them take long."""
        if monotonic() - self._told_at >= _MOMENT_SECONDS:
            go_on_waiting()
            self._told_at = monotonic()

    def _take_over(self) -> None:
        with self._shelf.changed:
            self._shelf.turn += 1
            turn = self._shelf.turn
            self._shelf.changed.notify_all()
        # A thread that is stuck in a read cannot be ended; nothing waits for it at exit.
        thread = threading.Thread(
            target=self._shelf.serve, args=(turn,), name=f"read-ahead-{turn}", daemon=True
        )
        thread.start()


def _told(failure: Exception, what: str) -> Exception:
    """What a failure is to whoever asked for a block; an OSError names file and errno."""
    if not isinstance(failure, OSError):
        return failure
    where = failure.filename or what
    return DataUnreadable(
        f"{where} cannot be read: {failure.strerror or failure} (errno {failure.errno}): make it "
        "readable, then submit the job anew or start the service again."
    )


def _stalled(what: str, number: int, patience: Patience) -> str:
    return (
        f"Block {number} of {what} was not read within {patience.seconds:g} s, "
        f"{patience.tries} times: see whether its disk or file server answers."
    )
