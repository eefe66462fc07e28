"""Named points of a worker where a test may have it die, freeze or fail; inert without the word.

GRADLOOM_FAULTS lists faults, parted by semicolons, as POINT:ACTION@KEY=VALUE,KEY=VALUE:

    worker.barrier:kill@step=7,worker=1;checkpoint.write:full@nth=2

The fault happens where the point's own facts (step, worker, shard, …) are those given; keys that
are options of the fault itself are in OPTIONS. The service has points of its own, in its faults.py.
"""

import errno
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

VARIABLE = "GRADLOOM_FAULTS"

# nth: only the nth time that the point is reached in this process. seconds: how long to sleep.
# megabytes: how much memory is kept for good.
# byte, bit: what of the data is flipped; element e of float32 begins at byte 4e.
OPTIONS = ("nth", "seconds", "byte", "bit", "megabytes")


class Point(StrEnum):
    """Where in a worker, in the order in which a step comes by."""

    DATA_READ = "worker.data.read"
    JOIN = "worker.join"
    STEP_START = "worker.step.start"
    SHARD_FORWARD = "worker.shard.forward"
    OPERATION = "worker.operation"
    SHARD_BACKWARD = "worker.shard.backward"
    SLOT_WRITE = "worker.slot.write"
    SLICE_SUM = "worker.slice.sum"
    SLICE_UPDATE = "worker.slice.update"
    BARRIER = "worker.barrier"
    ROUND_STATE = "worker.round.state"
    ROUND_REPORT = "worker.round.report"


def is_worker_point(point: str) -> bool:
    """Whether it is for a worker to know this point."""
    return point.startswith("worker.")


class FaultRaised(Exception):
    """What the action `raise` raises: an error that no code foresees."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where, what, under which facts, and its options."""

    point: str
    action: str
    facts: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, float], ...] = ()

    def meets(self, point: str, facts: Mapping[str, object]) -> bool:
        """Whether this is its place: the point, with all its facts."""
        here = point == self.point
        return here and all(str(facts.get(key)) == value for key, value in self.facts)

    def option(self, name: str, default: float = 0) -> float:
        """One of its options."""
        return dict(self.options).get(name, default)


class Faults:
    """The faults of one process."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._faults = tuple(faults)
        self._met = [0] * len(self._faults)

    def reached(self, point: str, data: memoryview | None = None, **facts: object) -> None:
        """Has happen what is to happen here; data is what `flip` changes, writable bytes."""
        for index, fault in enumerate(self._faults):
            if fault.meets(point, facts):
                self._met[index] += 1
                if fault.option("nth", self._met[index]) == self._met[index]:
                    ACTIONS[fault.action](fault, data)


def faults_of(
    variables: Mapping[str, str], points: type[StrEnum], is_ours: Callable[[str], bool]
) -> Faults:
    """The faults that are set for points of ours; ValueError for one that is none."""
    text = variables.get(VARIABLE, "")
    faults = (_fault(word.strip()) for word in text.split(";") if word.strip())
    ours = tuple(fault for fault in faults if is_ours(fault.point))
    for fault in ours:
        if fault.point not in set(points):
            raise _wrong(f"there is no point {fault.point}: use one of {', '.join(points)}")
    return Faults(ours)


def _fault(word: str) -> Fault:
    place, _, conditions = word.partition("@")
    point, _, action = place.partition(":")
    if action not in ACTIONS:
        raise _wrong(f"{word!r} has no action: write POINT:ACTION, of {', '.join(ACTIONS)}")
    pairs = [_pair(each, word) for each in conditions.split(",") if each]
    facts = tuple((key, value) for key, value in pairs if key not in OPTIONS)
    return Fault(
        point, action, facts, tuple((key, float(value)) for key, value in pairs if key in OPTIONS)
    )


def _pair(text: str, word: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise _wrong(f"{text!r} in {word!r} has no '=': write KEY=VALUE")
    return key, value


def _wrong(what: str) -> ValueError:
    return ValueError(f"{VARIABLE}: {what}.")


def _kill(fault: Fault, data: memoryview | None) -> None:  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGKILL)


def _freeze(fault: Fault, data: memoryview | None) -> None:  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGSTOP)


def _exit(fault: Fault, data: memoryview | None) -> None:  # noqa: ARG001
    os._exit(13)


def _raise(fault: Fault, data: memoryview | None) -> None:  # noqa: ARG001
    raise FaultRaised(f"the fault at {fault.point}")


def _sleep(fault: Fault, data: memoryview | None) -> None:  # noqa: ARG001
    time.sleep(fault.option("seconds", 1))


def _flip(fault: Fault, data: memoryview | None) -> None:
    if data is None:
        raise _wrong(f"nothing can be flipped at {fault.point}")
    data.cast("B")[int(fault.option("byte"))] ^= 1 << int(fault.option("bit"))


def _leak(fault: Fault, data: memoryview | None) -> None:  # noqa: ARG001
    _LEAKED.append(b"\1" * int(1e6 * fault.option("megabytes", 1)))


_LEAKED: list[bytes] = []


def _system_error(number: int) -> Callable[[Fault, memoryview | None], None]:
    def fail(fault: Fault, data: memoryview | None) -> None:  # noqa: ARG001
        raise OSError(number, os.strerror(number))

    return fail


ACTIONS: Mapping[str, Callable[[Fault, memoryview | None], None]] = {
    "kill": _kill,
    "freeze": _freeze,
    "exit": _exit,
    "raise": _raise,
    "sleep": _sleep,
    "flip": _flip,
    "leak": _leak,
    "full": _system_error(errno.ENOSPC),
    "io": _system_error(errno.EIO),
}

_ACTIVE = faults_of(os.environ, Point, is_worker_point)
# Called at every point, at each step: with no fault set it looks at an empty tuple.
reached = _ACTIVE.reached
