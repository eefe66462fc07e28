"""Contestants on the same case, interleaved: round by round each runs a burst of steps."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from benchmarks.cases import Case
from benchmarks.child import Answer
from benchmarks.contestant import Contestant, ContestantFailed, Program
from benchmarks.figures import Burst

_WARM_UP_STEPS = 3
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Length:
    """How long is measured: rounds, and about so many seconds of each contestant in a round.

    The clock is one of child.CLOCKS.
    """

    rounds: int
    burst_seconds: float
    clock: str = "wall"


@dataclass(frozen=True, slots=True)
class Result:
    """What a case came to: bursts by contestant, what each said of itself, peak memory in bytes."""

    bursts: Mapping[str, tuple[Burst, ...]]
    facts: Mapping[str, Answer]
    memory: Mapping[str, int]


@dataclass(slots=True)
class _Place:
    """A contestant that is ready, the steps of its bursts, and those it has made."""

    contestant: Contestant
    facts: Answer
    steps: int
    bursts: list[Burst] = field(default_factory=list)

    def run(self) -> None:
        """A burst; its first step, which finds the others' data in the caches, does not count."""
        answer = self.contestant.ask("run", steps=self.steps + 1)
        found = (tuple(answer[name][1:]) for name in ("seconds", "forward", "backward"))
        self.bursts.append(Burst(*found))


def compete(case: Case, programs: Sequence[Program], length: Length) -> Result:
    """Runs all programs on a case, each in a new process; raises ContestantFailed."""
    with ExitStack() as stack:
        places = [
            _ready(stack.enter_context(Contestant(program)), case, length) for program in programs
        ]
        _check_sizes(places)
        for number in range(length.rounds):
            for place in _rotated(places, number):
                place.run()
        return Result(
            {place.contestant.name: tuple(place.bursts) for place in places},
            {place.contestant.name: place.facts for place in places},
            {place.contestant.name: place.contestant.ask("memory")["bytes"] for place in places},
        )


def warm_up(case: Case, program: Program) -> None:
    """Makes a step in a process of its own, so that what is compiled for it stands on disk.

    A compiler's memory would else count as the case's.
    """
    with Contestant(program) as contestant:
        contestant.ask("prepare", model=case.model, batch=case.batch, clock="wall")
        contestant.ask("run", steps=1)


def _ready(contestant: Contestant, case: Case, length: Length) -> _Place:
    facts = contestant.ask("prepare", model=case.model, batch=case.batch, clock=length.clock)
    contestant.ask("run", steps=_WARM_UP_STEPS)
    seconds = median(contestant.ask("run", steps=_WARM_UP_STEPS)["seconds"])
    steps = min(max(math.ceil(length.burst_seconds / seconds), 1), _MOST_STEPS)
    return _Place(contestant, facts, steps)


def _check_sizes(places: Sequence[_Place]) -> None:
    """Models of another size are other models, and their times say nothing."""
    wanted = places[0].facts["parameters"]
    for place in places:
        found = place.facts["parameters"]
        if found != wanted:
            reason = f"its model has {found:,} parameters, not {wanted:,}"
            raise ContestantFailed(place.contestant.name, reason)


def _rotated(places: Sequence[_Place], by: int) -> Sequence[_Place]:
    """Another one begins in every round, so that nobody always follows the same one."""
    first = by % len(places)
    return (*places[first:], *places[:first])
