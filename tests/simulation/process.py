"""A process that is simulated: a generator that sleeps, waits and computes, until it is killed.

What it yields is what it waits for: seconds, or something that resumes it. While it is frozen all
that would have gone on waits until it wakes, and then goes on where it was.
"""

from collections.abc import Callable, Generator
from typing import Any, Protocol

from tests.simulation.clock import Clock


class Wait(Protocol):
    """Something that a process waits for."""

    def begin(self) -> None:
        """Has the process resumed once it is over."""


Program = Generator[float | Wait, Any, None]


class Process:
    """One process on a node. Its pid is never used again."""

    def __init__(self, clock: Clock, node: str, pid: int) -> None:
        self._clock = clock
        self.node = node
        self.pid = pid
        self.is_alive = True
        self.is_frozen = False
        # The service's attempts to end it do not reach it while it is frozen.
        self.is_stuck = False
        self.slowness = 1.0
        # When it last showed that it lives: it computes, or is frozen, since then.
        self.last_sign = clock.time
        self.died_at = 0.0
        self.on_death: list[Callable[[], None]] = []
        self._program: Program | None = None
        self._kept: list[Callable[[], None]] = []

    def run(self, program: Program) -> None:
        """Begins to run."""
        self._program = program
        self._go_on(None, None)

    def resume(self, value: object = None, error: Exception | None = None) -> None:
        """What it waited for is there, or came to an error."""
        if self.is_frozen:
            self._kept.append(lambda: self._go_on(value, error))
        else:
            self._go_on(value, error)

    def when_awake(self, action: Callable[[], None]) -> None:
        """Does something in its name: now, when it wakes, or never where it dies before."""
        if self.is_frozen:
            self._kept.append(action)
        elif self.is_alive:
            action()

    def _go_on(self, value: object, error: Exception | None) -> None:
        if not self.is_alive or self._program is None:
            return
        self.last_sign = self._clock.time
        try:
            wanted = self._program.throw(error) if error else self._program.send(value)
        except StopIteration:
            self.kill()
            return
        if not self.is_alive:
            return
        if isinstance(wanted, float):
            self._clock.after(wanted * self.slowness, self.resume)
        else:
            wanted.begin()

    def freeze(self, seconds: float) -> None:
        """Stops it for a while."""
        if self.is_alive and not self.is_frozen:
            self.is_frozen = True
            self._clock.after(seconds, self.thaw)

    def thaw(self) -> None:
        """Goes on where it was."""
        if not self.is_alive or not self.is_frozen:
            return
        self.is_frozen, self.last_sign = False, self._clock.time
        kept, self._kept = self._kept, []
        for action in kept:
            self.when_awake(action)

    def kill(self) -> None:
        """Ends it, frozen or not."""
        if not self.is_alive:
            return
        self.is_alive, self.died_at = False, self._clock.time
        self._kept = []
        for told in self.on_death:
            told()
