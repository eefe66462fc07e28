"""One life of the service: a floor over the store and the folder, until it is stopped or dies."""

from collections.abc import Callable, Iterator
from pathlib import Path

from gradloom.service.errors import Unavailable
from gradloom.service.jobs.job import Checkpoint, Job
from gradloom.service.jobs.memory_store import MemoryStore
from gradloom.service.jobs.store import Step
from gradloom.service.training import checkpoints, keeper
from gradloom.service.training.floor import Floor
from gradloom.service.training.surroundings import Surroundings
from tests.simulation.chance import Chance
from tests.simulation.clock import Clock

# The floor looks again so often though nothing was committed, and a run polls so long.
_LOOK_SECONDS = 1.0
_POLL_SECONDS = 0.2


class Crash(BaseException):
    """The service's process is killed here."""


class Troubles:
    """Where the service may be struck: in the midst of its dealings with the store and the disk."""

    def __init__(self, chance: Chance, die: Callable[[], None]) -> None:
        """die takes note that nothing the service does has an effect from now on."""
        self.chance = chance
        self._die = die
        self.is_inside = False
        self.crashes_left = 0
        self.disk_fails = False
        self.store_is_away = False

    def may_crash(self, point: str) -> None:
        """Raises Crash where it is time to."""
        if self.is_inside and self.crashes_left > 0 and self.chance.fires(point, 0.02):
            self.crashes_left -= 1
            self._die()
            raise Crash(point)

    def may_be_away(self) -> None:
        """Raises Unavailable while the store cannot be reached."""
        if self.is_inside and self.store_is_away:
            raise Unavailable("the store is locked", reason="STORE_UNAVAILABLE")


class Store(MemoryStore):
    """A store whose user may die before or after each commit."""

    def __init__(self, clock: Clock, troubles: Troubles, look: Callable[[Job, Job], None]) -> None:
        """look is shown every job before and after a commit."""
        super().__init__(clock.now)
        self._troubles = troubles
        self._look = look

    def _commit(self, name: str, step: Step) -> Job:
        self._troubles.may_be_away()
        self._troubles.may_crash("store.begin")
        before = self.get(name)
        after = super()._commit(name, step)
        self._look(before, after)
        self._troubles.may_crash("store.after_commit")
        return after

    def add_checkpoint(self, name: str, checkpoint: Checkpoint, path: str) -> None:
        """See JobStore."""
        self._troubles.may_be_away()
        self._troubles.may_crash("checkpoint.row")
        super().add_checkpoint(name, checkpoint, path)
        self._troubles.may_crash("checkpoint.after_row")

    def remove_checkpoint(self, name: str, step: int) -> None:
        """See JobStore."""
        self._troubles.may_crash("checkpoint.prune")
        super().remove_checkpoint(name, step)
        self._troubles.may_crash("checkpoint.pruned")


class Disk:
    """Files that are written without waiting for a disk, and sometimes not to their end."""

    def __init__(self, troubles: Troubles, look: Callable[[Path, bytes], None]) -> None:
        """look is shown all that is written."""
        self._troubles = troubles
        self._look = look
        self._real = (checkpoints.write_atomically, keeper.write_atomically)

    def __enter__(self) -> "Disk":
        checkpoints.write_atomically = keeper.write_atomically = self._write
        return self

    def __exit__(self, *_: object) -> None:
        checkpoints.write_atomically, keeper.write_atomically = self._real

    def _write(self, path: Path, content: bytes | memoryview) -> None:
        """As write_atomically, as far as the order of things goes."""
        if self._troubles.disk_fails:
            raise OSError(28, "No space left on device")
        partial = path.with_suffix(".partial")
        self._look(path, bytes(content))
        self._troubles.may_crash("checkpoint.open")
        partial.write_bytes(content)
        self._troubles.may_crash("checkpoint.write")
        partial.rename(path)
        self._troubles.may_crash("checkpoint.rename")


class Hand:
    """What carries a job out in the place of a thread: its turns, taken when it is time."""

    def __init__(self, name: str, turns: Iterator[None]) -> None:
        self.name = name
        self.due = 0.0
        self._turns = turns
        self._is_done = False

    def start(self) -> None:
        """Nothing begins before it is its turn."""

    def is_alive(self) -> bool:
        """Whether it goes on."""
        return not self._is_done

    def join(self, timeout: float | None = None) -> None:
        """It has ended, or is left to itself."""

    def turn(self) -> None:
        """Goes on until it would wait."""
        try:
            next(self._turns)
        except StopIteration:
            self._is_done = True

    def drop(self) -> None:
        """Its process is dead."""
        self._is_done = True
        self._turns.close()  # type: ignore[attr-defined]


class Service:
    """The floor and its runs, taking turns with all that happens outside."""

    def __init__(self, clock: Clock, around: Surroundings, troubles: Troubles) -> None:
        self.is_dead = False
        self._clock = clock
        self._troubles = troubles
        self._hands: list[Hand] = []
        self._look_is_due = True
        self._looked = clock.time
        self._floor = Floor(around, hand=self._begin)
        self._unsubscribe = around.store.subscribe(self._committed)

    def _begin(self, name: str, turns: Iterator[None]) -> Hand:
        hand = Hand(name, turns)
        hand.due = self._clock.time
        self._hands.append(hand)
        return hand

    def _committed(self, _name: str) -> None:
        self._look_is_due = True

    def heard(self) -> None:
        """A group has news: runs look at once."""
        for hand in self._hands:
            hand.due = self._clock.time

    def work(self) -> bool:
        """Does what is due now; False where nothing is. Raises Crash."""
        now, worked = self._clock.time, False
        self._troubles.is_inside = True
        try:
            if self._look_is_due or now - self._looked >= _LOOK_SECONDS:
                self._look_is_due, self._looked, worked = False, now, True
                self._floor.look()
            for hand in [hand for hand in self._hands if hand.due <= now]:
                hand.due, worked = now + _POLL_SECONDS, True
                hand.turn()
                if not hand.is_alive():
                    self._hands.remove(hand)
                    self._look_is_due = True
        finally:
            self._troubles.is_inside = False
        return worked

    @property
    def next_due(self) -> float:
        """When it has to do something at the latest."""
        return min([self._looked + _LOOK_SECONDS, *(hand.due for hand in self._hands)])

    @property
    def is_idle(self) -> bool:
        """Whether no job is carried out."""
        return not self._hands

    def drain(self) -> None:
        """Has all runs save their state and let go."""
        self._floor.let_go()

    def die(self) -> None:
        """Its process is gone: nothing of it does anything any more."""
        self.is_dead = True
        self._unsubscribe()
        for hand in self._hands:
            hand.drop()
        self._hands = []
