"""Whose fault a failure is, and when a job is given up: failures in, a verdict out."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gradloom.service.jobs.spec import OnNonFinite
from gradloom.service.jobs.states import Reason
from gradloom.service.training.suspects import DEATHS

# Failures that another worker would meet in the same way.
_FATAL = frozenset(
    {
        Reason.DATA_CHANGED,
        Reason.DATA_UNREADABLE,
        Reason.OBJECT_STORE_FULL,
        Reason.NON_FINITE,
        Reason.ENGINE_CHANGED,
    }
)
# There is no place for a worker at present.
_NOWHERE = frozenset({Reason.INSUFFICIENT_CAPACITY, Reason.RAY_UNREACHABLE})
# Or its place went: it is asked for again as often as that takes.
_NO_PLACE = _NOWHERE | {Reason.NODE_LOST, Reason.NETWORK_CUT}
# Faults of nodes and networks, which no job is blamed for. Who has other bits or versions than the
# job has them the next time, too: three of those in a row end it.
_NOT_THE_JOBS = _NO_PLACE | {Reason.WORKER_REFUSED, Reason.VERSION_SKEW, Reason.BITS_DIFFER}
_DEATH_ROUNDS_AT_ONE_STEP = 3
_ERRORS_AT_ONE_STEP = 2
_OUT_OF_MEMORY = 2
_DISPUTES = 3
_START_FAILURES = 3
_FORGIVEN_AFTER_SECONDS = 600.0
_SKIPPED_IN_A_ROW = 10
_ROLL_BACKS = 3
_LONGEST_BACKOFF_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker's failure: the step committed and the round under way then, and when it was.

    It happened on the way to one of the steps from step + 1 to end, as far as is known; to none of
    them where the worker was idle. time is in seconds of a clock that never goes back. log are the
    last lines the worker wrote. It is excused where its node killed workers of other jobs, too.
    spares_others is whether others of its round went on; None where there were none.
    """

    reason: Reason
    message: str
    step: int
    round: int
    started: bool
    time: float
    end: int = 0
    worker: int = -1
    node: str = ""
    log: tuple[str, ...] = ()
    is_excused: bool = False
    is_idle: bool = False
    spares_others: bool | None = None

    def past(self, step: int) -> "Failure":
        """The failure once a step is committed, whose computation has done no harm and never will.

        It does not excuse other bits.
        """
        if self.step >= step or self.reason is Reason.BITS_DIFFER:
            return self
        is_idle = self.is_idle or step >= max(self.end, self.step + 1)
        return replace(self, step=step, is_idle=is_idle)

    def excused(self, node: str) -> "Failure":
        """The failure as its node's fault, if it is a death on that node."""
        is_the_nodes = self.node == node and self.reason in DEATHS
        return replace(self, is_excused=self.is_excused or is_the_nodes)

    @property
    def finds_no_place(self) -> bool:
        """Whether there was nowhere to start it."""
        return self.reason in _NOWHERE

    @property
    def is_unforgettable(self) -> bool:
        """Whether it counts against a step for ever: checks may be hours apart."""
        return self.reason is Reason.BITS_DIFFER

    @property
    def is_the_jobs(self) -> bool:
        """Whether the job may be to blame."""
        return self.reason not in _NOT_THE_JOBS and not self.is_excused

    def may_be_at(self, step: int) -> bool:
        """Whether it may have happened on the way to the step after this one."""
        is_at_work = self.started and not self.is_idle
        return is_at_work and self.step <= step < max(self.end, self.step + 1)

    @property
    def steps(self) -> str:
        """The step, or those of which it was one, in words."""
        if self.is_idle:
            return f"idle after step {self.step}"
        first = self.step + 1
        return f"steps {first} to {self.end}" if self.end > first else f"step {first}"

    @property
    def told(self) -> str:
        """Why, who, where, when, and the last lines of the log."""
        where = f" on {self.node}" if self.node else ""
        who = f" (worker {self.worker}{where}, {self.steps})" if self.worker >= 0 else ""
        log = "".join(f"\n  {line}" for line in self.log)
        return f"{self.message}{who}{f'. Its last words:{log}' if log else ''}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the job is given up."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class NonFinitePolicy:
    """What becomes of a job when a step is not finite, and how often it was rolled back."""

    wanted: OnNonFinite = OnNonFinite.FAIL
    roll_backs: int = 0

    @property
    def rolls_back(self) -> bool:
        """Whether the job goes on from the end of an epoch."""
        return self.wanted is OnNonFinite.ROLL_BACK

    def verdict(self, skipped: int, message: str) -> Verdict | None:
        """Why the job is given up after so many skipped steps in a row; None where it goes on."""
        match self.wanted:
            case OnNonFinite.FAIL:
                return Verdict(Reason.NON_FINITE, message)
            case OnNonFinite.SKIP_STEP if skipped >= _SKIPPED_IN_A_ROW:
                story = f"{skipped} steps in a row were not finite, the newest: {message}"
                return Verdict(Reason.NON_FINITE, story)
            case OnNonFinite.ROLL_BACK if self.roll_backs >= _ROLL_BACKS:
                story = f"not finite again after {self.roll_backs} lower learning rates: {message}"
                return Verdict(Reason.NON_FINITE, story)
            case _:
                return None


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """The failures of a job in the last 10 minutes, over all its runs.

    One death may be the machine's fault and is forgiven; deaths in several rounds with the same
    step uncommitted are the job's, as are errors raised at one step by two workers.
    """

    budget: int
    failures: tuple[Failure, ...] = ()

    def after(self, *failures: Failure) -> "FailurePolicy":
        """The policy with more failures, and without those long ago."""
        now = max((failure.time for failure in failures), default=0.0)
        kept = (f for f in self.failures if f.is_unforgettable or _is_recent(f, now))
        return replace(self, failures=(*kept, *failures))

    def excusing(self, node: str) -> "FailurePolicy":
        """The policy with the deaths on a node taken for that node's fault."""
        return replace(self, failures=tuple(failure.excused(node) for failure in self.failures))

    def past(self, step: int) -> "FailurePolicy":
        """The policy once a step is committed: what was made once is no worker's end."""
        return replace(self, failures=tuple(failure.past(step) for failure in self.failures))

    def backoff(self) -> float:
        """Seconds to wait before the newest failure's worker is replaced: 0, 0.5, 1, … 30."""
        recent = (f for f in self.failures if not f.is_unforgettable)
        times = len({failure.round if failure.started else failure for failure in recent})
        return 0.0 if times < 2 else min(0.5 * 2.0 ** (times - 2), _LONGEST_BACKOFF_SECONDS)

    def steps_until_suspect(self, step: int) -> int | None:
        """Steps until one on the way to which a worker failed, which is then made alone.

        None where there is no such step.
        """
        if any(failure.may_be_at(step) for failure in self.failures):
            return 1
        ahead = [f.step - step for f in self.failures if f.may_be_at(f.step) and f.step > step]
        return min(ahead, default=None)

    def frozen_at(self, step: int) -> int:
        """How many workers were taken for frozen at a step: they may have been slow instead."""
        frozen = (f for f in self.failures if f.reason is Reason.WORKER_FROZEN)
        return len({f.round for f in frozen if f.may_be_at(step)})

    def verdict(self, *, goes_on: bool = False) -> Verdict | None:
        """Why the job is given up after its newest failure; None where it goes on.

        goes_on: other workers train meanwhile, so that one that cannot start costs nothing.
        """
        newest = self.failures[-1]
        if newest.reason in _FATAL:
            return Verdict(newest.reason, newest.told)
        if goes_on and not newest.started:
            return None
        limits = self._limits_at(newest) if newest.started else self._limits_of_starting()
        for reached, reason, story in (*limits, self._limit_of_the_budget()):
            if reached:
                return Verdict(reason, f"{story}: {newest.told}")
        return None

    def _limits_at(self, newest: Failure) -> tuple[tuple[bool, Reason, str], ...]:
        errors, error_step = self._most_at_one_step(newest, _errors)
        memory = sum(f.reason is Reason.OUT_OF_MEMORY for f in self.failures)
        rounds, death_step = self._most_at_one_step(newest, _rounds)
        disputes = self._disputes(newest)
        return (
            (
                disputes >= _DISPUTES,
                Reason.BITS_DIFFER,
                f"workers came to other bits {disputes} times; have the nodes tested",
            ),
            (
                errors >= _ERRORS_AT_ONE_STEP,
                Reason.WORKER_ERROR,
                f"{errors} workers raised an error at step {error_step + 1}",
            ),
            (
                memory >= _OUT_OF_MEMORY,
                Reason.OUT_OF_MEMORY,
                f"{memory} workers were killed for their memory; lower training.batch_size, raise "
                "training.shards, or use larger nodes",
            ),
            (
                rounds >= _DEATH_ROUNDS_AT_ONE_STEP,
                Reason.CRASH_LOOP,
                f"workers died {rounds} times at step {death_step + 1}",
            ),
        )

    def _disputes(self, newest: Failure) -> int:
        """How often workers came to other bits of late, or ever at the newest one's step."""
        return len(
            {
                f.round
                for f in self.failures
                if f.reason is Reason.BITS_DIFFER
                and (f.step == newest.step or _is_recent(f, newest.time))
            }
        )

    def _most_at_one_step(
        self, newest: Failure, count: Callable[[list[Failure]], int]
    ) -> tuple[int, int]:
        """The most that may have happened at one step, of those the newest may have; and the step.

        Of steps that failures may have been at, one that begins with a failure has the most.
        """
        blamed = [f for f in self.failures if f.is_the_jobs]
        steps = {newest.step, *(f.step for f in blamed if newest.may_be_at(f.step))}
        counted = [(count([f for f in blamed if f.may_be_at(step)]), step) for step in steps]
        return max(counted, key=lambda each: (each[0], -each[1]))

    def _limits_of_starting(self) -> tuple[tuple[bool, Reason, str], ...]:
        unstarted = self._start_failures_in_a_row()
        return (
            (
                unstarted >= _START_FAILURES,
                Reason.WORKER_START_FAILED,
                f"{unstarted} workers in a row could not be started",
            ),
        )

    def _limit_of_the_budget(self) -> tuple[bool, Reason, str]:
        blamed = sum(failure.is_the_jobs for failure in self.failures)
        return (
            blamed > self.budget,
            Reason.TOO_MANY_FAILURES,
            f"{blamed} failures, resources.max_failures is {self.budget}",
        )

    def _start_failures_in_a_row(self) -> int:
        count = 0
        for failure in reversed(self.failures):
            if failure.started:
                break
            count += failure.reason not in _NO_PLACE
        return count


def _is_recent(failure: Failure, now: float) -> bool:
    return now - failure.time < _FORGIVEN_AFTER_SECONDS


def _errors(failures: list[Failure]) -> int:
    return sum(failure.reason is Reason.WORKER_ERROR for failure in failures)


def _rounds(failures: list[Failure]) -> int:
    """In how many rounds the same happened: what a step does to workers it does each time.

    It ends whoever computes a shard of it, or all.
    """
    kinds = {(failure.reason, failure.spares_others) for failure in failures}
    return max((_of_a_kind(failures, *kind) for kind in kinds), default=0)


def _of_a_kind(failures: list[Failure], reason: Reason, spares: bool | None) -> int:
    alike = (f for f in failures if f.reason is reason and f.spares_others in (spares, None))
    return len({failure.round for failure in alike})
