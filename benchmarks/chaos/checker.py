"""Judges a history: what must hold after any faults, and where it did not. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.chaos.history import Seen
from gradloom.service.jobs.states import TRANSITIONS, State


@dataclass(frozen=True, slots=True)
class Verdict:
    """How often each promise was broken, and each breach as a sentence."""

    jobs: int
    lost: int
    wrong_hashes: int
    hangs: int
    leaks: int
    wrong_histories: int
    complaints: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether all promises were kept."""
        return not self.complaints


def judge(seen: Sequence[Seen], references: Mapping[str, str], leaks: Iterable[str]) -> Verdict:
    """The verdict on all jobs, given the weights of undisturbed runs by case and what was left."""
    hangs = [f"hang: {job.id} {job.hang}" for job in seen if job.hang]
    lost = [f"lost: {job.id} {_how_lost(job)}" for job in seen if _is_lost(job)]
    wrong = [
        f"wrong hash: {job.id} on {job.wanted.workers} workers came to "
        f"{job.weights_sha256[:12]}, not {references[job.wanted.case.name][:12]}"
        for job in seen
        if job.state is State.SUCCEEDED and job.weights_sha256 != references[job.wanted.case.name]
    ]
    histories = [f"history: {job.id} {what}" for job in seen for what in wrong_history(job)]
    left = [f"leak: {what}" for what in leaks]
    complaints = (*lost, *wrong, *hangs, *histories, *left)
    counts = (len(seen), len(lost), len(wrong), len(hangs), len(left), len(histories))
    return Verdict(*counts, complaints)


def _is_lost(job: Seen) -> bool:
    """Whether it came to no good end; one that hangs is counted as such."""
    return not job.hang and job.state is not State.SUCCEEDED


def _how_lost(job: Seen) -> str:
    return job.error or f"ended {job.state} ({job.reason}): {job.message}"


def wrong_history(job: Seen) -> Iterator[str]:
    """What of a job's history cannot be: revisions missing or twice, moves that are not allowed."""
    expected = list(range(1, len(job.revisions) + 1))
    if job.revisions != expected:
        first = next(a for a, b in zip(job.revisions, expected, strict=True) if a != b)
        yield f"was seen with revision {first} out of turn"
    for before, after in pairwise(job.states):
        if after not in TRANSITIONS[before]:
            yield f"went from {before} to {after}"
