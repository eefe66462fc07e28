"""Answers a worker's messages with bytes; the one place where a failure becomes a value."""

import os
import platform
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from gradloom.worker.assembly import asked_of, data_sha256, joins_inputs
from gradloom.worker.data.errors import (
    DataChanged,
    DataError,
    DataUnreadable,
    ObjectStoreFull,
    StoreLost,
)
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare_request, request_of
from gradloom.worker.data.prepared import Prepared, Request
from gradloom.worker.data.reading import LIMIT_SECONDS, READS, meanwhile
from gradloom.worker.data.streams import Given
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.arrays import side_by_side
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.profile import profile_of
from gradloom.worker.engine.selftest import self_test
from gradloom.worker.exchange.exchange import Broken, Exchange, NoRoom
from gradloom.worker.exchange.join import join
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.faults import Point, reached
from gradloom.worker.fence import fence
from gradloom.worker.fingerprint import fingerprint
from gradloom.worker.initial_weights import WeightsError, load_weights
from gradloom.worker.lockstep import Commit, Lockstep
from gradloom.worker.messages import (
    Answer,
    AnswerKind,
    Content,
    Evaluate,
    Formation,
    Locate,
    Order,
    Snapshot,
    Task,
    Train,
    Verify,
    encode,
)
from gradloom.worker.replica import Replica
from gradloom.worker.residence import resident_bytes
from gradloom.worker.state import BadState, Vector, newest_standings
from gradloom.worker.versions import versions

# What went wrong, in the words of the service's reasons. DataError comes from reading a file
# that was sound when the job was accepted.
_REASONS: dict[type[Exception], str] = {
    DataChanged: "DATA_CHANGED",
    DataError: "DATA_UNREADABLE",
    DataUnreadable: "DATA_UNREADABLE",
    ObjectStoreFull: "OBJECT_STORE_FULL",
    StoreLost: "WORKER_LOST",
    WeightsError: "DATA_UNREADABLE",
    NoRoom: "SHM_TOO_SMALL",
    MemoryError: "OUT_OF_MEMORY",
}


def request_in(task: Task) -> Request:
    """What a task asks of its data."""
    learning = task.learning
    return request_of(
        task.data, _roots(task), asked_of(learning.loss), joined=joins_inputs(learning.model)
    )


def survey_in(task: Task) -> Given:
    """What is known of the data where nobody else reads it: no more than the task says."""
    return Given(survey=task.survey)


@dataclass(slots=True)
class _Place:
    """Where a worker stands in its formation: the exchange, and the steps it makes in it.

    It says what its parameters are where it speaks for one of several cells.
    """

    formation: Formation
    exchange: Exchange
    steps: Lockstep
    speaks: bool


class Server:
    """A replica behind messages: the task and the state to begin from first, then orders."""

    def __init__(self, host: str = "127.0.0.1", given: Callable[[Task], Given] = survey_in) -> None:
        """host is the address at which the other workers of a job reach this one.

        given says what of a task's data is read by others.
        """
        self._given = given
        self._listener = Listener(host)
        weakref.finalize(self, self._listener.close)
        self._replica: Replica | None = None
        self._beginning: bytes | None = None
        self._place: _Place | None = None
        self._commits: list[Commit] = []
        self._round = 0

    def beat(self) -> bytes:
        """That it lives, where it stands, and what it reads; from any thread, while it is at work.

        Where a read stalls for good it is the answer, as the thread that should give it is stuck.
        """
        read = READS.newest
        if read and read.is_stalled:
            return encode(_error(None, DataUnreadable(_stalled(read.path))))
        facts = {"step": self._step, "reads": read.path if read else ""}
        return encode(Answer(AnswerKind.BEAT, self._round, facts))

    @property
    def _step(self) -> int:
        """The step stood at, -1 where that is none."""
        replica = self._replica  # another thread may let go of it meanwhile
        try:
            return replica.state.step if replica else -1
        except BadState:
            return -1

    def answer(self, message: "tuple[Task, bytes | None] | Order") -> bytes:
        """The encoded answer to a message; an error is an answer too, and never raised."""
        self._commits = []
        try:
            if isinstance(message, Order):
                return encode(self._obey(message))
            return encode(self._begin(*message))
        except Broken as broken:
            return encode(self._broken(message, broken))
        except Exception as error:
            return encode(_error(message, error))

    def _begin(self, task: Task, state: bytes | None) -> Answer:
        """Loads the data, and remembers the state that the job begins with."""
        self.leave()
        begin = _initial_weights(task) if state is None else lambda _: None
        self._replica = Replica(task, _data(task, self._given(task)), begin=begin)
        self._replica.rehearse()
        self._beginning = state
        facts = {
            "node": platform.node(),
            "address": self._listener.address,
            "pid": os.getpid(),
            "profile": profile_of(os.environ),
            "selftest_sha256": selftest_sha256(),
            "baseline": self._replica.baseline,
            "versions": versions(),
        }
        return Answer(AnswerKind.READY, 0, facts)

    def leave(self) -> None:
        """Lets go of a job: its formation, its state and its data."""
        if self._place:
            self._place.exchange.close()
        self._place = self._replica = self._beginning = None

    def _obey(self, order: Order) -> Answer:
        if self._replica is None:
            raise RuntimeError("an order came before the task")
        facts, body = self._done(self._replica, order)
        facts |= {"step": self._replica.state.step, "seconds": self._replica.seconds.take()}
        return Answer(AnswerKind.DONE, order.round, facts, body)

    def _stand(self, replica: Replica, order: Order) -> None:
        """Stands at the order's step, for work that no other member takes part in."""
        if order.state is not None or not replica.stands:
            memory = side_by_side(replica.layout.vectors, replica.layout.size, np.float32)
            replica.keep(memory, order.state or self._beginning, order.step)
        replica.state.stand_at(order.step)
        replica.heed(order.measured)

    def _entered(self, replica: Replica, order: Order) -> _Place:
        """The place in the order's formation, which is entered where it is another one."""
        if self._place is None or self._place.formation.number != order.formation.number:
            self._place = self._enter(replica, order, self._place)
        replica.state.stand_at(order.step)
        replica.heed(order.measured)
        return self._place

    def _enter(self, replica: Replica, order: Order, before: _Place | None) -> _Place:
        fence(order.fence)
        formation, number = order.formation, order.worker
        reached(Point.JOIN, step=order.step, worker=number)
        if before:
            before.exchange.close()
        exchange = join(
            formation, number, self._listener, replica.layout, before.exchange if before else None
        )
        if exchange.is_fresh:
            replica.keep(exchange.state, order.state or self._beginning, order.step)
        else:
            replica.share(exchange.state)
        self._beginning = None
        replica.write_to(exchange.registers, exchange.boards.own.spares)
        mine = next(each for each in formation.members if each.worker == number)
        cell = [i for i, each in enumerate(formation.members) if each.cell == mine.cell]
        notes = exchange.agree(replica.state.standings().encode())
        replica.state.adopt(newest_standings(notes[place].decode() for place in cell))
        steps = Lockstep(
            replica,
            exchange,
            (mine.first, mine.last),
            tuple(cell),
            number,
            boards=exchange.boards,
        )
        speaks = len(cell) < len(formation.members) and formation.members[cell[0]] == mine
        return _Place(formation, exchange, steps, speaks)

    def _done(self, replica: Replica, order: Order) -> tuple[dict[str, object], bytes]:
        """Facts and bytes that come of the order's work."""
        if isinstance(order.work, Train):
            place, self._round = self._entered(replica, order), order.round
            with meanwhile(place.exchange.linger):
                facts = self._train(place.steps, order.work.steps)
            step, parameters = replica.state.step, replica.state.parameters
            reached(Point.ROUND_STATE, parameters.data, step=step, worker=order.worker)
            if place.speaks:
                facts["digest"] = fingerprint(parameters)
            facts["resident"] = resident_bytes()
            reached(Point.ROUND_REPORT, step=step, worker=order.worker)
            return facts, b""
        self._stand(replica, order)
        match order.work:
            case Evaluate():
                return _evaluate(replica, order.work)
            case Snapshot():
                return _snapshot(replica, order.work)
            case Locate():
                return _locate(replica)
            case Verify(shard):
                return {"digest": replica.digest(shard)}, b""

    def _train(self, steps: Lockstep, count: int) -> dict[str, object]:
        steps.begin_round()
        for commit in steps.steps(count):
            self._commits.append(commit)
        return {
            "commits": [asdict(commit) for commit in self._commits],
            "compute_seconds": steps.compute_seconds,
            "longest_step": steps.longest_step,
        }

    def _broken(self, message: object, broken: Broken) -> Answer:
        """The formation cannot go on; the state stands where it stands."""
        replica = self._replica
        facts = {
            "step": self._step,
            "commits": [asdict(commit) for commit in self._commits],
            "culprit": broken.culprit,
            "why": broken.why,
            "message": str(broken),
            "seconds": replica.seconds.take() if replica else {},
        }
        number = message.round if isinstance(message, Order) else 0
        return Answer(AnswerKind.BROKEN, number, facts)


@cache
def selftest_sha256() -> str:
    """The same for as long as this process lives; the first call loads what kernels it needs."""
    return self_test().sha256


def _data(task: Task, given: Given) -> Prepared:
    """The job's data. Raises DataError, or DataChanged where it is other than it was."""
    data = prepare_request(request_in(task), task.learning.seed, given)
    found = data_sha256(data.summary)
    if found != task.data_sha256:
        raise _changed("data's", found, task.data_sha256)
    return data


def _initial_weights(task: Task) -> Callable[[Graph], Vector | None]:
    """The weights of the job's file, once there is a graph to arrange them for."""

    def begin(graph: Graph) -> Vector | None:
        weights = task.learning.model.initial_weights
        if weights is None:
            return None
        loaded = load_weights(graph, weights, _roots(task))
        if loaded.sha256 != task.initial_weights_sha256:
            raise _changed("initial weights'", loaded.sha256, task.initial_weights_sha256)
        return loaded.vector

    return begin


def _roots(task: Task) -> Roots:
    return Roots(tuple(Path(root) for root in task.roots))


def _stalled(path: str) -> str:
    return (
        f"Nothing of {quoted(path)} was read within {LIMIT_SECONDS:.0f} s: see whether its disk or "
        "file server answers."
    )


def _changed(whose: str, found: str, before: str) -> DataChanged:
    return DataChanged(
        f"The {whose} SHA-256 is {found[:12]}, it was {before[:12]} when the job was "
        "made: put the old files back, or submit the job anew."
    )


def _evaluate(replica: Replica, work: Evaluate) -> tuple[dict[str, object], bytes]:
    nodes = replica.evaluate(work.split, work.first, work.last)
    return {"statistics": [(n.level, n.place, values) for n, values in nodes.items()]}, b""


def _locate(replica: Replica) -> tuple[dict[str, object], bytes]:
    found = replica.locate()
    return {"location": asdict(found) if found else None}, b""


def _snapshot(replica: Replica, work: Snapshot) -> tuple[dict[str, object], bytes]:
    metadata = dict(work.metadata)
    if work.content is Content.STATE:
        return {"is_finite": replica.state.is_finite}, replica.state.snapshot(metadata)
    return {"weights_sha256": replica.state.weights_sha256()}, replica.state.model(metadata)


def _error(message: object, error: Exception) -> Answer:
    with suppress(OSError):  # the disk that the log is on may be full
        traceback.print_exception(error)
    number = message.round if isinstance(message, Order) else 0
    facts = {
        "reason": _REASONS.get(type(error), "WORKER_ERROR"),
        "message": f"{type(error).__name__}: {error}",
    }
    return Answer(AnswerKind.ERROR, number, facts)
