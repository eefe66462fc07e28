"""What the members of a cell tell each other of their shards, in words of shared memory.

A member writes to its own board and spare register alone, so nothing is ever locked, and one that
freezes in the middle of it disturbs nobody. Of a shard a board holds the stamp of the step at
which it was begun or done: the formation's number, which is used once, and how many steps it has
made. So what an earlier step has left behind says nothing.
"""

from collections.abc import Sequence
from threading import Lock

from gradloom.worker.exchange.exchange import Layout, Vector
from gradloom.worker.exchange.notes import Statistics
from gradloom.worker.exchange.segment import Words

# Whether the member looks out for help, its seconds a shard, and since when it is at one.
_LOOKS, _PACE, _SINCE = range(3)
_HEAD = 3
_STEPS = 32


def words_of(layout: Layout) -> int:
    """How many words a board takes."""
    return _HEAD + 2 * layout.shards + layout.statistics


class Board:
    """One member's board, and its spare register if the cell has other members."""

    def __init__(
        self, words: Words, shards: range, layout: Layout, spares: tuple[Vector, ...]
    ) -> None:
        """shards are the member's own."""
        self.shards = shards
        self.spares = spares
        self.begun = words[_HEAD : _HEAD + layout.shards]
        self.done = words[_HEAD + layout.shards : _HEAD + 2 * layout.shards]
        self._words = words
        self._numbers = words.cast("B").cast("d")
        self._told = self._numbers[_HEAD + 2 * layout.shards : words_of(layout)]

    @property
    def looks(self) -> bool:
        """Whether the member looks, while it computes, whether others were faster."""
        return bool(self._words[_LOOKS])

    @looks.setter
    def looks(self, looks: bool) -> None:
        self._words[_LOOKS] = looks

    @property
    def pace(self) -> float:
        """Seconds that a shard takes the member; 0 where that is not known."""
        return float(self._numbers[_PACE])

    @pace.setter
    def pace(self, seconds: float) -> None:
        self._numbers[_PACE] = seconds

    @property
    def since(self) -> float:
        """When the member began the shard that it is at."""
        return float(self._numbers[_SINCE])

    @since.setter
    def since(self, time: float) -> None:
        self._numbers[_SINCE] = time

    @property
    def statistics(self) -> Statistics:
        """Those of the shard that was done last."""
        return tuple(self._told)

    @statistics.setter
    def statistics(self, statistics: Statistics) -> None:
        for place, number in enumerate(statistics):
            self._told[place] = number


class Boards:
    """The boards of a cell as one of its members sees them, at one step after the other."""

    def __init__(self, boards: Sequence[Board], own: int, formation: int) -> None:
        """own is the member's place; a formation has one number."""
        self.own = boards[own]
        self.others = (*boards[:own], *boards[own + 1 :])
        self._stamp = formation << _STEPS
        self._fence = Lock()

    def next_step(self) -> None:
        """Begins a step; all members of the formation begin the same ones."""
        self._stamp += 1

    def begin(self, shard: int, now: float) -> None:
        """Says that this member is at a shard."""
        self.own.since = now
        self.own.begun[shard] = self._stamp

    def finish(self, shard: int, statistics: Statistics) -> None:
        """Says that this member has done a shard: one of its own, or into its spare register."""
        self.own.statistics = statistics
        # What a lock takes has all that was written before seen by others before what follows.
        with self._fence:
            self.own.done[shard] = self._stamp

    def is_done(self, shard: int) -> bool:
        """Whether another member has done a shard."""
        return any(board.done[shard] == self._stamp for board in self.others)

    def found(self, shard: int) -> tuple[Vector, Statistics]:
        """The gradient and the statistics of an own shard that another member has done."""
        board = next(board for board in self.others if board.done[shard] == self._stamp)
        return board.spares[0], board.statistics

    def has_begun(self, board: Board, shard: int) -> bool:
        """Whether a member has begun a shard."""
        return board.begun[shard] == self._stamp

    def is_free(self, owner: Board, shard: int) -> bool:
        """Whether nobody has done a shard, and nobody but its owner is at it."""
        return not self.is_done(shard) and not any(
            self.has_begun(board, shard) for board in self.others if board is not owner
        )


def lone(layout: Layout) -> Boards:
    """The boards of a member that is alone."""
    words = memoryview(bytearray(8 * words_of(layout))).cast("Q")
    return Boards([Board(words, range(layout.shards), layout, ())], 0, 0)
