"""Whose fault a failure is, and when a job is given up: failures in, a verdict out."""

from dataclasses import dataclass, replace

from gradloom.service.jobs.spec import OnNonFinite
from gradloom.service.jobs.states import Reason

# Failures that another worker would meet in the same way.
_FATAL = frozenset(
    {Reason.DATA_CHANGED, Reason.DATA_UNREADABLE, Reason.NON_FINITE, Reason.ENGINE_CHANGED}
)
_DEATH_ROUNDS_AT_ONE_STEP = 3
_ERRORS_AT_ONE_STEP = 2
_START_FAILURES = 3
_FORGIVEN_AFTER_SECONDS = 600.0
_SKIPPED_IN_A_ROW = 10
_ROLL_BACKS = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker's failure: the step committed and the round under way then, and when it was.

    time is in seconds of a clock that never goes back.
    """

    reason: Reason
    message: str
    step: int
    round: int
    started: bool
    time: float


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

    def after(self, failure: Failure) -> "FailurePolicy":
        """The policy with one failure more, and without those long ago."""
        recent = (f for f in self.failures if failure.time - f.time < _FORGIVEN_AFTER_SECONDS)
        return replace(self, failures=(*recent, failure))

    def verdict(self) -> Verdict | None:
        """Why the job is given up after its newest failure; None where it goes on."""
        newest = self.failures[-1]
        if newest.reason in _FATAL:
            return Verdict(newest.reason, newest.message)
        for reached, reason, story in self._limits(newest):
            if reached:
                return Verdict(reason, f"{story}: {newest.message}")
        return None

    def _limits(self, newest: Failure) -> tuple[tuple[bool, Reason, str], ...]:
        here = [f for f in self.failures if f.started and f.step == newest.step]
        errors = sum(f.reason is Reason.WORKER_ERROR for f in here)
        rounds = len({f.round for f in here})
        unstarted = self._start_failures_in_a_row()
        return (
            (
                unstarted >= _START_FAILURES,
                Reason.WORKER_START_FAILED,
                f"{unstarted} workers in a row could not be started",
            ),
            (
                errors >= _ERRORS_AT_ONE_STEP,
                Reason.WORKER_ERROR,
                f"{errors} workers raised an error at step {newest.step + 1}",
            ),
            (
                rounds >= _DEATH_ROUNDS_AT_ONE_STEP,
                Reason.CRASH_LOOP,
                f"workers died {rounds} times at step {newest.step + 1}",
            ),
            (
                len(self.failures) > self.budget,
                Reason.TOO_MANY_FAILURES,
                f"{len(self.failures)} failures, resources.max_failures is {self.budget}",
            ),
        )

    def _start_failures_in_a_row(self) -> int:
        count = 0
        for failure in reversed(self.failures):
            if failure.started:
                break
            count += 1
        return count
