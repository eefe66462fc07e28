"""What looking at the layers costs at the default interval, by model and batch.

Run as `make bench-health`. Writes results/health.json.
"""

import os
import sys
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.cases import CASES, Case
from benchmarks.contestant import Contestant, Program
from benchmarks.machine import machine
from benchmarks.models import TASKS
from benchmarks.one_core import options, write
from gradloom.service.jobs.spec import HealthSpec
from gradloom.worker.engine.health import is_due
from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

INTERVAL = HealthSpec().interval
# Steps that a share is of, beside those of an interval: the early looks fall on them.
BEGINNING = 1_000
_SMALL = Case("small mlp", 64)


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of a step without a look, and what a look adds."""

    case: str
    batch: int
    step_ms: float
    look_ms: float

    @property
    def share(self) -> float:
        """What looks add to the time of an interval's steps."""
        return self.look_ms / self.step_ms / INTERVAL

    @property
    def beginning_share(self) -> float:
        """The same for the first thousand steps."""
        looks = sum(is_due(step, INTERVAL) for step in range(1, BEGINNING + 1))
        return looks * self.look_ms / self.step_ms / BEGINNING


def measure(cases: tuple[Case, ...], rounds: int) -> tuple[Cost, ...]:
    """The costs by case; raises ContestantFailed."""
    command = (sys.executable, "-m", "benchmarks.looks")
    program = Program("gradloom", command, environment(PROFILE_DEFAULT, os.environ))
    with Contestant(program) as contestant:
        return tuple(_cost(contestant, case, rounds) for case in cases)


def _cost(contestant: Contestant, case: Case, rounds: int) -> Cost:
    found = contestant.ask("looks", model=case.model, batch=case.batch, rounds=rounds)
    return Cost(case.model, case.batch, 1e3 * found["step"], 1e3 * found["added"])


def show(costs: tuple[Cost, ...], console: Console) -> None:
    """Prints what was measured."""
    columns = ("case", "step ms", "look ms", f"every {INTERVAL}", f"first {BEGINNING:,}")
    table = Table(*columns, title="Looking at the layers")
    for cost in costs:
        table.add_row(
            f"{cost.case} {cost.batch}",
            f"{cost.step_ms:.2f}",
            f"{cost.look_ms:.2f}",
            f"{cost.share:.2%}",
            f"{cost.beginning_share:.2%}",
        )
    console.print(table)


def main() -> None:
    """Measures, prints, writes."""
    asked = options(__doc__, "one case")
    cases = (_SMALL, *(case for case in CASES if case.model in TASKS))
    costs = measure(cases[:1], 3) if asked.quick else measure(cases, 60)
    show(costs, Console())
    rows = [
        {**asdict(cost), "share": cost.share, "beginning_share": cost.beginning_share}
        for cost in costs
    ]
    found = {"machine": machine(), "interval": INTERVAL, "costs": rows}
    write(asked.output, "health", found)


if __name__ == "__main__":
    main()
