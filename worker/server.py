"""Answers a worker's messages with bytes; the one place where a failure becomes a value."""

import os
import platform
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

from gradloom.worker.assembly import asked_of, data_sha256, joins_inputs
from gradloom.worker.data.errors import DataChanged, DataError, DataUnreadable
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.prepared import Prepared
from gradloom.worker.data.streams import Given
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.profile import profile_of
from gradloom.worker.engine.selftest import self_test
from gradloom.worker.exchange.star import packed, unpacked
from gradloom.worker.initial_weights import WeightsError, load_weights
from gradloom.worker.messages import (
    Answer,
    AnswerKind,
    Compute,
    Content,
    Evaluate,
    Locate,
    Order,
    Snapshot,
    Task,
    Work,
    decode,
    encode,
)
from gradloom.worker.replica import Replica
from gradloom.worker.state import Vector

# What went wrong, in the words of the service's reasons. DataError comes from reading a file
# that was sound when the job was accepted.
_REASONS: dict[type[Exception], str] = {
    DataChanged: "DATA_CHANGED",
    DataError: "DATA_UNREADABLE",
    DataUnreadable: "DATA_UNREADABLE",
    WeightsError: "DATA_UNREADABLE",
}


class Server:
    """A replica behind messages: the task and the state to begin from first, then orders."""

    def __init__(self) -> None:
        self._replica: Replica | None = None

    def answer(self, message: "tuple[Task, bytes | None] | Order") -> bytes:
        """The encoded answer to a message; an error is an answer too, and never raised."""
        try:
            if isinstance(message, Order):
                return encode(self._obey(message))
            return encode(self._begin(*message))
        except Exception as error:
            return encode(_error(message, error))

    def _begin(self, task: Task, state: bytes | None) -> Answer:
        """Loads the data and stands at the state's step, or at the beginning."""
        begin = _initial_weights(task) if state is None else lambda _: None
        self._replica = Replica(task, _data(task), begin=begin)
        if state is not None:
            self._replica.state.restore(state)
        facts = {
            "node": platform.node(),
            "pid": os.getpid(),
            "profile": profile_of(os.environ),
            "selftest_sha256": selftest_sha256(),
            "baseline": self._replica.baseline,
        }
        return Answer(AnswerKind.READY, 0, facts)

    def _obey(self, order: Order) -> Answer:
        if self._replica is None:
            raise RuntimeError("an order came before the task")
        facts: dict[str, object] = {"commit": self._stand_at(self._replica, order)}
        more, body = _done(self._replica, order.work)
        facts |= more
        facts["seconds"] = self._replica.seconds.take()
        return Answer(AnswerKind.DONE, order.round, facts, body)

    def _stand_at(self, replica: Replica, order: Order) -> dict[str, object] | None:
        """Brings the replica to the order's step; the report of the step it made, if any."""
        if order.state is not None:
            replica.state.restore(order.state)
        commit = None
        replica.heed(order.measured)
        if replica.state.step == order.step - 1:
            answers = [decode(root) for root in order.roots]
            parts = [unpacked(answer.facts.get("roots"), answer.body) for answer in answers]
            commit = asdict(replica.advance(parts))
            replica.heed(order.measured)
        if replica.state.step != order.step:
            raise RuntimeError(f"stands at step {replica.state.step}, not {order.step}")
        return commit


@cache
def selftest_sha256() -> str:
    """The same for as long as this process lives; the first call loads what kernels it needs."""
    return self_test().sha256


def _data(task: Task) -> Prepared:
    """The job's data. Raises DataError, or DataChanged where it is other than it was."""
    learning = task.learning
    asked = asked_of(learning.loss)
    joined = joins_inputs(learning.model)
    given = Given(survey=task.survey)
    data = prepare(
        task.data, _roots(task), seed=learning.seed, kind=asked, joined=joined, given=given
    )
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


def _changed(whose: str, found: str, before: str) -> DataChanged:
    return DataChanged(
        f"The {whose} SHA-256 is {found[:12]}, it was {before[:12]} when the job was "
        "made: put the old files back, or submit the job anew."
    )


def _done(replica: Replica, work: Work) -> tuple[dict[str, object], bytes]:
    """Facts and bytes that come of a piece of work."""
    match work:
        case Compute():
            return _compute(replica, work)
        case Evaluate():
            return _evaluate(replica, work)
        case Snapshot():
            return _snapshot(replica, work)
        case Locate():
            return _locate(replica)


def _compute(replica: Replica, work: Compute) -> tuple[dict[str, object], bytes]:
    roots, body = packed(replica.compute(work.first, work.last))
    return {"roots": roots}, body


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
    traceback.print_exception(error)
    number = message.round if isinstance(message, Order) else 0
    facts = {
        "reason": _REASONS.get(type(error), "WORKER_ERROR"),
        "message": f"{type(error).__name__}: {error}",
    }
    return Answer(AnswerKind.ERROR, number, facts)
