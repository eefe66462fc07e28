"""Where a simulated state is: two sides of blocks that a cell shares, and where one stands."""

from dataclasses import dataclass, field

from gradloom.worker.exchange.tree import Node
from tests.simulation.arithmetic import BLOCKS, Blocks


@dataclass(eq=False, slots=True)
class Memory:
    """What the processes of a cell share: a store to it takes effect whoever made it, and when."""

    sides: tuple[Blocks, Blocks] = field(default_factory=lambda: ([0] * BLOCKS, [0] * BLOCKS))
    registers: dict[Node, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """The step a state stands at, its side, and what it counts beside its blocks."""

    step: int
    side: int
    updates: int = 0
    skipped: int = 0
    measured: int = 0
    plateau: int = 0


class BadState(ValueError):
    """An order to stand where the state does not stand."""


class State:
    """A replica's view of a memory, as worker.state.State is one of its vectors."""

    def __init__(self, memory: Memory, standing: Standing | None = None) -> None:
        self.memory = memory
        self.standing = standing
        self.before: Standing | None = None

    @property
    def at(self) -> Standing:
        """Where it stands."""
        if self.standing is None:
            raise BadState("the state stands nowhere yet")
        return self.standing

    @property
    def blocks(self) -> Blocks:
        """The blocks at its step."""
        return self.memory.sides[self.at.side]

    def stand_at(self, step: int) -> None:
        """Goes back to the step before, where that is the step asked for."""
        if self.before is not None and step == self.before.step:
            self.standing, self.before = self.before, None
        if step != self.at.step:
            raise BadState(f"the state stands at step {self.at.step}, not {step}")

    def move(self, to: Standing) -> None:
        """Stands at the next step."""
        self.standing, self.before = to, self.at
