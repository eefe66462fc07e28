"""A round under way: who was asked, what they said, and what follows for the step. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gradloom.service.training.breaches import Blame
from gradloom.service.training.events import NoRoom, RoundBroken, WorkerAnswered
from gradloom.worker.exchange.exchange import Why
from gradloom.worker.messages import Train, Work

Word = WorkerAnswered | RoundBroken | NoRoom


@dataclass(slots=True)
class Round:
    """A piece of work at a step, under a number that is never used again.

    Of its members pending have not answered; dead are those who died meanwhile, and their nodes. A
    round is torn where one died that had not answered. limits counts the deadlines that were set
    since it broke.
    """

    number: int
    step: int
    work: Work
    pending: set[int]
    answers: dict[int, Word] = field(default_factory=dict)
    dead: dict[int, str] = field(default_factory=dict)
    is_torn: bool = False
    limits: int = 0
    members: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self.members = frozenset(self.pending)

    @property
    def end(self) -> int:
        """The step at which its workers stand when it is done."""
        return self.step + self.work.steps if isinstance(self.work, Train) else self.step

    def may_end_at(self, step: int) -> bool:
        """Whether a worker may say that it did its part and stands there: training makes steps."""
        return self.step + isinstance(self.work, Train) <= step <= self.end

    @property
    def is_broken(self) -> bool:
        """Whether it cannot become whole any more."""
        return self.is_torn or len(self.words) < len(self.answers)

    @property
    def words(self) -> list[WorkerAnswered]:
        """What those said who did their part."""
        return [word for word in self.answers.values() if isinstance(word, WorkerAnswered)]

    @property
    def digests(self) -> dict[int, str]:
        """The hashes that those came to who told one."""
        return {word.worker: word.digest for word in self.words if word.digest}

    @property
    def blames(self) -> tuple[Blame, ...]:
        """What its members say of each other."""
        return tuple(
            Blame(word.worker, word.culprit, word.why, word.message)
            for word in self.answers.values()
            if isinstance(word, RoundBroken)
        )

    @property
    def waits_for_culprits_alone(self) -> bool:
        """Whether all who have not answered are said to be at fault."""
        return self.pending <= {blame.culprit for blame in self.blames}

    @property
    def waits_for_the_frozen_alone(self) -> bool:
        """Whether all who have not answered are said to be frozen, which nothing can confirm."""
        return self.pending <= {b.culprit for b in self.blames if b.why is Why.FROZEN}

    def lose(self, worker: int, node: str) -> None:
        """A member died."""
        self.dead[worker] = node
        if worker in self.pending:
            self.pending.discard(worker)
            self.is_torn = True

    def hear(self, word: Word) -> bool:
        """Takes a worker's answer; False where none is waited for."""
        if word.round != self.number or word.worker not in self.pending:
            return False
        self.pending.discard(word.worker)
        self.answers[word.worker] = word
        return True

    def standing(self, holders: Mapping[int, bool]) -> dict[int, int]:
        """Who of its workers holds the state, and at which step; holders are who held it before.

        They are at most one step apart. Where one is a step further, all have taken part in it;
        else those who came new may not have got as far as holding anything.
        """
        steps = {w: word.step for w, word in self.answers.items() if not isinstance(word, NoRoom)}
        if not self.is_broken:
            return steps
        certain = [s for w, s in steps.items() if holders.get(w) or s > self.step]
        newest = max(certain, default=self.step)
        if newest > self.step:
            return {w: s for w, s in steps.items() if s >= newest - 1}
        return {w: s for w, s in steps.items() if holders.get(w)}
