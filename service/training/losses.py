"""Workers that a run lost: failures that are not judged yet, and what becomes of the job. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.events import End
from gradloom.service.training.policies import Failure, FailurePolicy
from gradloom.service.training.suspects import DEATHS


class Losses:
    """Failures wait until it is known at which step they were, and whether a node went with them.

    policy has those that were judged, in this run and in those before it.
    """

    def __init__(self, policy: FailurePolicy) -> None:
        self.policy = policy
        self._unjudged: list[Failure] = []
        self._lives: dict[str, int] = {}
        self._told: set[tuple[Reason, str]] = set()

    @property
    def drained(self) -> frozenset[str]:
        """Nodes that killed workers of several jobs: deaths on them are their fault."""
        return frozenset(node for node, lives in self._lives.items() if not lives)

    def add(self, failure: Failure) -> bool:
        """One more, to be judged later; whether it is the one that drains its node."""
        self._unjudged.append(failure)
        node, before = failure.node, self.drained
        if failure.reason in DEATHS and node in self._lives:
            self._lives[node] = max(self._lives[node] - 1, 0)
        if node in self.drained:
            self.excuse(node)
        return node in self.drained - before

    def is_news(self, failure: Failure) -> bool:
        """Whether it is to be told: workers that cannot start are tried again and again."""
        if failure.started:
            return True
        before, why = len(self._told), _why_not_started(failure)
        self._told.add((failure.reason, why))
        return len(self._told) > before

    def one_has_started(self) -> None:
        """A worker is ready: if others cannot start after that, it is told anew."""
        self._told.clear()

    def suspect(self, lives: Mapping[str, int]) -> list[str]:
        """What deaths of all jobs come to; the nodes that are drained since it was last said."""
        before, self._lives = self.drained, dict(lives)
        return sorted(self.drained - before)

    def excuse(self, node: str) -> bool:
        """The deaths on a node were that node's fault; whether there were any."""
        before = self.policy, self._unjudged
        self.policy = self.policy.excusing(node)
        self._unjudged = [failure.excused(node) for failure in self._unjudged]
        return before != (self.policy, self._unjudged)

    def went_with_their_node(self, workers: Collection[int]) -> None:
        """These workers were lost as their node was."""
        self._unjudged = [
            replace(failure, reason=Reason.NODE_LOST) if failure.worker in workers else failure
            for failure in self._unjudged
        ]

    def spared(self, *, others: bool) -> None:
        """They happened in a round of several, of whom others went on or not."""
        self._unjudged = [replace(each, spares_others=others) for each in self._unjudged]

    def were_at(self, step: int) -> None:
        """They happened on the way from this step to the next one."""
        self._unjudged = [replace(each, step=step, end=step + 1) for each in self._unjudged]

    def committed(self, step: int) -> None:
        """A step that counts was no worker's end, and is none when it has to be made again."""
        self.policy = self.policy.past(step)

    @property
    def are_to_be_judged(self) -> bool:
        """Whether there are any since they were last judged."""
        return bool(self._unjudged)

    def judge(self, *, goes_on: bool, may_wait: bool) -> End | None:
        """The job's end, if it has come to that.

        goes_on: others train meanwhile. may_wait: the job may go back to the queue.
        """
        unjudged, self._unjudged = self._unjudged, []
        for failure in unjudged:
            if failure.finds_no_place and may_wait:
                return End(State.QUEUED, failure.reason, failure.message)
            self.policy = self.policy.after(failure)
            verdict = self.policy.verdict(goes_on=goes_on)
            if verdict is not None:
                return End(State.FAILED, verdict.reason, verdict.message)
        return None


def _why_not_started(failure: Failure) -> str:
    """What one after the other says, whatever its number; how little room there is may vary."""
    if failure.finds_no_place:
        return ""
    return failure.message.replace(f"worker {failure.worker}", "worker")


def place_of(failure: Failure, stood: int) -> str:
    """Where in a round of several steps a worker failed, as far as that is known."""
    if stood >= failure.step:
        return f" (after step {stood})"
    return f" (at one of the {failure.steps})" if failure.end > failure.step + 1 else ""
