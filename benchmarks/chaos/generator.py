"""What will be done, drawn from a seed: which jobs, and which faults in which order."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.chaos.cases import SHARDS, Case


class Kind(StrEnum):
    """A kind of fault."""

    KILL_WORKER = "kill_worker"
    KILL_ALL_WORKERS = "kill_all_workers"
    FREEZE_WORKER = "freeze_worker"
    RESIZE = "resize"
    FILL_DISK = "fill_disk"
    KILL_SERVICE = "kill_service"
    STOP_SERVICE = "stop_service"
    FLIP_CHECKPOINT = "flip_checkpoint"
    TEAR_CHECKPOINT = "tear_checkpoint"
    DAMAGE_ALL_CHECKPOINTS = "damage_all_checkpoints"
    KILL_NODE = "kill_node"
    CUT_NETWORK = "cut_network"


# What is done to files while the service is down.
AT_REST = (Kind.FLIP_CHECKPOINT, Kind.TEAR_CHECKPOINT, Kind.DAMAGE_ALL_CHECKPOINTS)
# No fault, and still nothing that may change a bit.
HARMLESS = (Kind.RESIZE,)

Weights = Mapping[Kind, float]

ONE_NODE: Weights = {
    Kind.KILL_WORKER: 34,
    Kind.KILL_ALL_WORKERS: 6,
    Kind.FREEZE_WORKER: 18,
    Kind.RESIZE: 6,
    Kind.FILL_DISK: 7,
    Kind.KILL_SERVICE: 7,
    Kind.STOP_SERVICE: 4,
    Kind.FLIP_CHECKPOINT: 5,
    Kind.TEAR_CHECKPOINT: 5,
    Kind.DAMAGE_ALL_CHECKPOINTS: 2,
}
THREE_HOSTS: Weights = {**ONE_NODE, Kind.KILL_NODE: 6, Kind.CUT_NETWORK: 12}
# A moment with several faults at once.
_SEVERAL = 0.25
_MOST_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: pick says to which of the candidates, size how much or how long; both 0 to 1."""

    kind: Kind
    pick: float
    size: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Faults that happen at once, so many seconds after those before."""

    pause: float
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to submit."""

    number: int
    case: Case
    workers: int


def moments(seed: str, weights: Weights, mean_pause: float) -> Iterator[Moment]:
    """Moments without end; pauses are exponential, as of things that know nothing of each other."""
    draw = random.Random(f"moments {seed}")
    kinds, shares = list(weights), list(weights.values())
    while True:
        pause = min(draw.expovariate(1 / mean_pause), 4 * mean_pause)
        count = draw.randint(2, _MOST_AT_ONCE) if draw.random() < _SEVERAL else 1
        chosen = draw.choices(kinds, shares, k=count)
        yield Moment(pause, tuple(Fault(kind, draw.random(), draw.random()) for kind in chosen))


def jobs(seed: str, cases: Sequence[Case]) -> Iterator[Wanted]:
    """Jobs without end, each of one of the cases on 1 up to as many workers as it has shards."""
    draw = random.Random(f"jobs {seed}")
    number = 0
    while True:
        number += 1
        yield Wanted(number, draw.choice(cases), draw.randint(1, SHARDS))
