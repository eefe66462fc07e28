"""One member's steps: its shards, its part of the sum and of the update, and the commit.

All members come to the same numbers from the same notes, so that what they decide (a step that is
not finite is skipped, a gradient is clipped) needs no further word.
"""

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from gradloom.worker.aid import Aid
from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.health import Health
from gradloom.worker.engine.kernels.optimizers import global_norm, norm_of, squares_by_block
from gradloom.worker.engine.metrics import divisor, summarize
from gradloom.worker.engine.observation import Moves
from gradloom.worker.engine.optimizers import clip_elements, clip_scale
from gradloom.worker.engine.spec import Optimizer
from gradloom.worker.exchange.boards import Boards, lone
from gradloom.worker.exchange.exchange import Exchange, Vector
from gradloom.worker.exchange.notes import Seen, pack_seen, unpack_seen
from gradloom.worker.exchange.tree import reduce
from gradloom.worker.faults import Point, reached
from gradloom.worker.replica import Replica

# The square of a larger number may be infinite in float32.
_LARGEST_NORM = 1e19
_FLAG = struct.Struct("<?")


@dataclass(frozen=True, slots=True)
class Commit:
    """A step that is done: steps so far, means over its batch, norm before clipping, seconds.

    skipped are the newest steps in a row that changed nothing, as this one where it is not 0.
    health is what a look at the layers found, at steps that are looked at or are not finite.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    metrics: Mapping[str, float]
    seconds: float
    skipped: int = 0
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class _Batch:
    """What all members know before they make a step.

    The shards' summed notes, the rows of the batch, those that count in its loss, and the rate.
    """

    total: Seen
    rows: int
    counted: float
    learning_rate: float


class Lockstep:
    """Steps of a replica within a formation. Every method but the constructor raises Broken."""

    def __init__(
        self,
        replica: Replica,
        exchange: Exchange,
        shards: tuple[int, int],
        cell: tuple[int, ...] = (0,),
        worker: int = 0,
        clock: Callable[[], float] = perf_counter,
        boards: Boards | None = None,
    ) -> None:
        """The replica, that of the worker, computes the shards from the first up to the last.

        cell are the places, among all members, of those it shares its memory with, in the order
        of their parts of the vector. boards are those of the cell, where members help each other.
        """
        self._worker = worker
        self._replica = replica
        self._exchange = exchange
        self._shards = shards
        self._cell = cell
        self._clock = clock
        self._aid = Aid(boards or lone(replica.layout), worker, clock)
        self._count = replica.graph.parameter_count
        self._blocks = tuple(replica.state.blocks(exchange.place))
        longest = max((block.stop - block.start for block in self._blocks), default=0)
        self._work: Vector = np.empty(longest, np.float32)
        # Seconds of a step in which sums were awaited and added up.
        self._summing = 0.0
        self.compute_seconds = 0.0
        self.longest_step = 0.0

    def begin_round(self) -> None:
        """Counts seconds anew."""
        self.compute_seconds = self.longest_step = 0.0

    def steps(self, count: int) -> Iterator[Commit]:
        """So many steps; fewer where one is not finite, which ends them."""
        for _ in range(count):
            began = self._clock()
            commit = self._step()
            self.longest_step = max(self.longest_step, self._clock() - began)
            yield commit
            if commit.skipped:
                return

    def _step(self) -> Commit:
        began = self._clock()
        self._reach(Point.STEP_START)
        aid = self._aid
        aid.begin_step(is_open=not self._replica.is_look_due)
        roots = self._replica.compute(*self._shards, aid if aid.is_looking else None)
        self._reach(Point.SLOT_WRITE)
        self.compute_seconds += aid.learned(self._clock() - began)
        self._replica.help(aid)
        computed = self._clock()
        notes = self._exchange.agree(pack_seen(roots))
        self._reach(Point.SLICE_SUM)
        self._exchange.begin_sum()
        agreed = self._clock()
        self._summing = 0.0
        commit = self._made(self._batch(notes))
        self._replica.seconds.add("exchange", agreed - computed + self._summing)
        self._replica.seconds.add("update", self._clock() - agreed - self._summing)
        return commit

    def _reach(self, point: Point) -> None:
        """A place where a test may have this worker die."""
        reached(point, step=self._replica.state.step, worker=self._worker)

    def _batch(self, notes: tuple[bytes, ...]) -> _Batch:
        replica = self._replica
        seen = {node: part for note in notes for node, part in unpack_seen(note).items()}
        total = reduce(seen, replica.task.shards, Seen.__add__)
        rows, counted = replica.batch_rows, divisor(total.statistics)
        return _Batch(total, rows, counted, replica.learning_rate)

    def _made(self, batch: _Batch) -> Commit:
        """Makes the step, or skips it."""
        began = self._clock()
        replica, state = self._replica, self._replica.state
        statistics = batch.total.statistics
        metrics = summarize(replica.task.learning.loss, statistics)
        # A batch of which no row counts loses nothing; its mean would be no number.
        loss = metrics["loss"] if statistics[0] else 0.0
        is_look_due, before = replica.is_look_due, state.parameters
        with np.errstate(all="ignore"):
            norm, is_sound = (
                self._written_whole(batch) if self._needs_whole else self._written(batch)
            )
        norm /= batch.counted
        is_finite = is_sound and math.isfinite(loss) and self._can_be_squared(norm)
        if is_finite:
            state.commit()
        else:
            state.skip()
        looks = is_look_due or not is_finite
        health = self._health(batch, before, is_whole=is_look_due) if looks else None
        seconds, skipped = self._clock() - began, state.counters.skipped
        rate = batch.learning_rate
        return Commit(state.step, loss, rate, norm, metrics, seconds, skipped, health)

    def _health(self, batch: _Batch, before: Vector, *, is_whole: bool) -> Health:
        moves = Moves(self._replica.graph, self._exchange.whole(), batch.counted)
        after = self._replica.state.parameters
        return moves.health(batch.total.observed, before, after, is_whole=is_whole)

    @property
    def _optimizer(self) -> Optimizer:
        return self._replica.task.learning.optimizer

    @property
    def _is_clipped(self) -> bool:
        return self._optimizer.clip_norm is not None or self._optimizer.clip_value is not None

    @property
    def _needs_whole(self) -> bool:
        """Whether the update of a block depends on other blocks."""
        return self._is_clipped or self._replica.state.needs_whole

    def _can_be_squared(self, norm: float) -> bool:
        """Whether no square of an element can be infinite, which a slot would never get rid of."""
        return math.isfinite(norm) and (self._is_clipped or norm < _LARGEST_NORM)

    def _written(self, batch: _Batch) -> tuple[float, bool]:
        """Sums and updates block by block: the sum's norm, and whether all that counts is finite.

        The norm is known only when all is written; where it is not finite the step is skipped.
        """
        is_sound, squares = True, []
        for block in self._blocks:
            began = self._clock()
            total = self._exchange.total(block, self._work[: block.stop - block.start])
            self._summing += self._clock() - began
            trained, running = self._divided(total, block)
            squares.append(squares_by_block(trained))
            is_sound &= self._write(block, total, batch, 1 / batch.counted)
            is_sound &= math.isfinite(global_norm(running))
        return self._agreed(squares, is_sound=is_sound)

    def _written_whole(self, batch: _Batch) -> tuple[float, bool]:
        """The same where the gradient is clipped, or the rule needs whole parameters."""
        began = self._clock()
        total, place = self._exchange.whole(), self._exchange.place
        self._summing += self._clock() - began
        trained, running = self._divided(total[place], place)
        is_sound = math.isfinite(global_norm(running))
        norm, is_sound = self._agreed([squares_by_block(trained)], is_sound=is_sound)
        length = norm
        if self._optimizer.clip_value is not None and self._optimizer.clip_norm is not None:
            clipped = self._clipped(trained.copy(), batch)
            length, _ = self._agreed([squares_by_block(clipped)], is_sound=True)
        scale = clip_scale(length / batch.counted, self._optimizer.clip_norm) / batch.counted
        for block in self._blocks:
            gradient = self._work[: block.stop - block.start]
            np.copyto(gradient, total[block])
            self._clipped(self._divided(gradient, block)[0], batch)
            is_sound &= self._write(block, gradient, batch, scale)
        _, is_sound = self._agreed([], is_sound=is_sound)
        return norm, is_sound

    def _divided(self, vector: Vector, block: slice) -> tuple[Vector, Vector]:
        """A block of the flat vector: what belongs to parameters, what to buffers."""
        count = min(max(self._count - block.start, 0), vector.size)
        return vector[:count], vector[count:]

    def _clipped(self, gradient: Vector, batch: _Batch) -> Vector:
        """The elements cut off, in place, where the optimiser says so."""
        if self._optimizer.clip_value is not None:
            clip_elements(gradient, self._optimizer.clip_value * batch.counted)
        return gradient

    def _write(self, block: slice, gradient: Vector, batch: _Batch, scale: float) -> bool:
        """Whether what it writes may stand: it is looked at after the last step alone.

        An update that overflows shows in the next step's loss; after the last there is none.
        """
        state = self._replica.state
        state.write(block, gradient, batch.learning_rate, scale, batch.rows)
        self._reach(Point.SLICE_UPDATE)
        is_last = state.step + 1 == self._replica.task.learning.steps
        return not is_last or state.is_finite_within(block)

    def _agreed(self, squares: list[Array], *, is_sound: bool) -> tuple[float, bool]:
        """The norm of all that this cell's members summed, and whether all members are sound."""
        self._reach(Point.BARRIER)
        notes = self._exchange.agree(
            b"".join([_FLAG.pack(is_sound), *(part.tobytes() for part in squares)])
        )
        parts = [np.frombuffer(notes[place][_FLAG.size :]) for place in self._cell]
        return norm_of(np.concatenate(parts)), all(note[0] for note in notes)
