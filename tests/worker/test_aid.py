"""F08: shards that faster members take from a slow one; not a bit tells who computed what."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from gradloom.worker.aid import Aid, averaged, is_about_to_be_done, is_slow
from gradloom.worker.data.container import Array
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.prepared import Prepared
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.split import Rows
from gradloom.worker.data.target import TargetKind
from gradloom.worker.engine.arrays import side_by_side
from gradloom.worker.engine.spec import BatchNorm, Dense, Dropout, Model, Relu
from gradloom.worker.exchange.boards import Board, Boards, words_of
from gradloom.worker.exchange.exchange import Layout
from gradloom.worker.exchange.notes import Seen, pack_seen
from gradloom.worker.exchange.tree import Node, cover
from gradloom.worker.messages import Task
from gradloom.worker.replica import Replica
from tests.worker.crew import Crew, trained
from tests.worker.jobs import LEARNING, task_in

STEPS = 16
WITH_BATCH_NORM = replace(
    LEARNING, model=Model((Dense(13), BatchNorm(), Relu(), Dropout(0.3), Dense(3)))
)


@pytest.fixture(params=[LEARNING, WITH_BATCH_NORM], ids=["dropout", "batch norm"])
def task(request: pytest.FixtureRequest, tmp_path: Path) -> Task:
    return replace(task_in(tmp_path), learning=request.param)


# Who is slow, and what is worth it.


@pytest.mark.parametrize(
    ("own", "others", "slow"),
    [
        (5.0, [1.0], True),
        (1.9, [1.0], False),
        (1.0, [5.0], False),
        (5.0, [1.0, 5.0], True),
        (5.0, [1.0, 5.0, 5.0], False),
        (5.0, [0.0, 1.0], True),
        (5.0, [0.0], False),
        (5.0, [], False),
        (0.0, [1.0], False),
        (0.001, [0.0001], False),
    ],
)
def test_slow_is_who_takes_far_longer_than_the_others(
    own: float, others: list[float], *, slow: bool
) -> None:
    assert is_slow(own, others) is slow


@pytest.mark.parametrize(
    ("elapsed", "done"), [(0.0, False), (3.9, False), (4.1, True), (5.0, False), (9.0, False)]
)
def test_a_shard_is_left_to_an_owner_who_is_nearly_through(elapsed: float, *, done: bool) -> None:
    assert is_about_to_be_done(elapsed, usual=5.0, helped=1.0) is done


def test_one_slow_step_makes_nobody_slow() -> None:
    pace = averaged(averaged(0.0, 1.0), 5.0)
    assert not is_slow(pace, [1.0])
    assert is_slow(averaged(averaged(pace, 5.0), 5.0), [1.0])


@pytest.mark.parametrize(("together", "is_slow_for_ever"), [(1.0, False), (4.0, True)])
def test_who_was_slow_for_a_while_is_not_slow_for_ever(
    together: float, *, is_slow_for_ever: bool
) -> None:
    """One by one its shards take three times as long as together, whatever else it does."""
    layout = Layout(1, 1, 8)
    own, other = (
        Board(memoryview(bytearray(8 * words_of(layout))).cast("Q"), share, layout, ())
        for share in (range(4), range(4, 8))
    )
    now = [0.0]
    aid = Aid(Boards([own, other], 0, 1), clock=lambda: now[0])
    own.pace, own.looks, other.pace = 4.0, True, 1.0
    aid.learned(0.0)  # a first step
    for _ in range(100):
        aid.begin_step(is_open=True)
        began, each = now[0], 3.0 * together if aid.is_looking else together
        for shard in own.shards:
            if aid.is_looking:
                aid.begin(shard)
            now[0] += each
            if aid.is_looking:
                aid.finish(shard, ())
        aid.learned(now[0] - began)
    assert own.looks is is_slow_for_ever


# One shard, taken at each moment there is.

SHARES = (range(4), range(4, 8))


class Interrupted(Aid):
    """Something happens just before it looks for the nth time whether a shard is done."""

    def __init__(self, boards: Boards, nth: int, happens: Callable[[], object]) -> None:
        super().__init__(boards)
        self._looked, self._nth, self._happens = count(), nth, happens
        self.has_happened = False

    def is_done(self, shard: int) -> bool:
        if next(self._looked) == self._nth:
            self.has_happened = True
            self._happens()
        return super().is_done(shard)


class Pair:
    """A slow member that has the first shards, and a fast one that has the others."""

    def __init__(self, task: Task) -> None:
        self.slow, self.fast = (Replica(task, data_of(task)) for _ in SHARES)
        self.layout = self.slow.layout
        self.boards = [
            Board(
                memoryview(bytearray(8 * words_of(self.layout))).cast("Q"),
                share,
                self.layout,
                (np.full(self.layout.size, np.nan, np.float32),),
            )
            for share in SHARES
        ]
        self.registers = [
            side_by_side(len(cover(share.start, share.stop, 8)), self.layout.size, np.float32)
            for share in SHARES
        ]
        for replica, registers, board in zip(
            (self.slow, self.fast), self.registers, self.boards, strict=True
        ):
            replica.keep(side_by_side(self.layout.vectors, self.layout.size, np.float32), None, 0)
            replica.write_to(registers, board.spares)
        self._formations = count(1)

    def getting(self, nth: int, happens: Callable[[], object]) -> Interrupted:
        """The slow one's side of a formation: something happens when it looks the nth time."""
        number = next(self._formations)
        aid = Interrupted(Boards(self.boards, 0, number), nth, happens)
        self.giving = Aid(Boards(self.boards, 1, number))
        self.boards[0].looks = True
        for each in (aid, self.giving):
            each.begin_step(is_open=True)
        return aid

    def roots(self, aid: Aid | None = None) -> tuple[bytes, list[bytes]]:
        """What the slow one comes to."""
        for register in self.registers[0]:
            register.fill(np.nan)
        seen: dict[Node, Seen] = self.slow.compute(0, 4, aid)
        return pack_seen(seen), [register.tobytes() for register in self.registers[0]]

    def help(self) -> None:
        """The fast one takes the last shard, as it does after its own shards."""
        self.fast.help(self.giving)


def data_of(task: Task) -> Prepared:
    return prepare(task.data, Roots(tuple(map(Path, task.roots))), seed=3, kind=TargetKind.LABELS)


def test_a_shard_that_is_taken_at_any_moment_has_the_bits_of_any_other(task: Task) -> None:
    """Before a shard, between any two of its operations, and when all are through."""
    pair = Pair(task)
    expected = pair.roots()
    for nth in count():
        aid = pair.getting(nth, pair.help)
        assert pair.roots(aid) == expected
        if not aid.has_happened:
            break
        assert aid.taken == 1
    assert nth > 4 * 8


def test_a_shard_that_both_have_done_has_the_same_bits_twice(task: Task) -> None:
    pair = Pair(task)
    aid = pair.getting(-1, lambda: None)
    pair.help()
    (spare,), statistics = pair.boards[1].spares, pair.boards[1].statistics
    spare_bytes = spare.tobytes()
    (seen,) = pair.slow.compute(3, 4).values()
    assert pair.registers[0][0].tobytes() == spare_bytes
    assert seen.statistics == statistics
    assert aid.is_done(3)


def test_what_a_helper_did_at_an_earlier_step_is_not_taken(task: Task) -> None:
    pair = Pair(task)
    expected = pair.roots()
    aid = pair.getting(-1, lambda: None)
    pair.help()
    pair.boards[1].spares[0].fill(np.nan)
    aid.begin_step(is_open=True)
    assert pair.roots(aid) == expected
    assert not aid.taken


def test_helping_leaves_the_own_roots_as_they_are(task: Task) -> None:
    pair = Pair(task)
    pair.fast.compute(4, 8)
    before = [register.tobytes() for register in pair.registers[1]]
    pair.getting(-1, lambda: None)
    pair.help()
    assert pair.boards[1].done[3]
    assert [register.tobytes() for register in pair.registers[1]] == before


def test_nobody_helps_where_the_layers_are_looked_at(task: Task) -> None:
    pair = Pair(task)
    pair.getting(-1, lambda: None)
    pair.giving.begin_step(is_open=False)
    assert pair.giving.wanted() is None


# Members in threads, one of which is slow.


class Slow(Reader):
    """Takes its time over every shard."""

    pauses: Iterator[float]

    def fill(self, positions: Rows, inputs: Sequence[Array], target: Array) -> None:
        time.sleep(next(self.pauses))
        super().fill(positions, inputs, target)


def slowed(crew: Crew, worker: int, pauses: Iterator[float]) -> None:
    """One worker pauses before it reads the rows of a shard."""
    replica = crew.servers[worker]._replica
    assert replica is not None
    data = replica._data
    reader = data.training
    slow = Slow(reader._dataset, reader._rows, data.scalings, reader._order)
    slow.pauses = pauses
    replica._data = replace(data, training=slow)


def taken(crew: Crew) -> list[int]:
    """How many of its shards others did, by worker."""
    places = [server._place for server in crew.servers]
    return [place.steps._aid.taken for place in places if place]


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("victim", [0, 1], ids=["leader", "led"])
def test_a_slow_member_is_helped_and_the_weights_stay_the_same(
    task: Task, workers: int, victim: int
) -> None:
    crew = Crew(task, workers)
    slowed(crew, victim, pauses=iter(lambda: 0.02, None))
    crew.train(0, STEPS)
    assert taken(crew)[victim] > 0
    assert crew.weights(STEPS) == trained(task, 1, STEPS)


def test_delays_at_random_change_nothing(task: Task) -> None:
    """Each member has a mind of its own: who helps whom changes, and both finish at times.

    In every round another one is slow for certain, and looks, so that there is somebody to help.
    """
    crew, slowest = Crew(task, 3), 0

    def pauses(worker: int) -> Iterator[float]:
        random = np.random.Generator(np.random.Philox(worker))
        while True:
            yield 0.02 if worker == slowest else float(random.exponential(0.004))

    for worker in range(3):
        slowed(crew, worker, pauses(worker))
    rng = np.random.Generator(np.random.Philox(9))
    for first in range(0, 30, 3):
        slowest = first // 3 % 3
        for worker, server in enumerate(crew.servers):
            if server._place:
                looks = worker == slowest or bool(rng.random() < 0.5)
                server._place.steps._aid._own.looks = looks
        crew.train(first, first + 3)
    assert sum(taken(crew)) > 0
    assert crew.weights(30) == trained(task, 1, 30)


def test_a_helped_member_tells_what_its_shards_would_have_taken_it(task: Task) -> None:
    """Its share follows from that: who seems fast for being helped would be given more."""
    crew = Crew(task, 2)
    slowed(crew, 1, pauses=iter(lambda: 0.02, None))
    crew.train(0, STEPS)
    (place,) = [server._place for server in crew.servers[1:]]
    assert place is not None
    place.steps.begin_round()
    crew.train(STEPS, STEPS + 4)
    assert taken(crew)[1] > 0
    assert place.steps.compute_seconds / 4 > 4 * 0.02
