"""The checker finds what it is there to find."""

from collections import Counter

import pytest

from benchmarks.chaos.cases import Case
from benchmarks.chaos.checker import Verdict, judge
from benchmarks.chaos.generator import Wanted
from benchmarks.chaos.history import Seen
from gradloom.service.jobs.states import State

REFERENCES = {"gpt-1": "aa" * 32}
LIFE = [State.QUEUED, State.STARTING, State.RUNNING, State.RECOVERING, State.RUNNING]


def good(**changes: object) -> Seen:
    """What a client saw of a job that ended well."""
    seen = Seen(
        Wanted(7, Case("gpt", 1, 100), 3),
        name="jobs/gpt-1-x",
        state=State.SUCCEEDED,
        weights_sha256="aa" * 32,
        states=[*LIFE, State.SUCCEEDED],
        revisions=[1, 2, 3, 4, 5, 6, 7],
        incidents=Counter(WORKER_LOST=1),
    )
    for name, value in changes.items():
        setattr(seen, name, value)
    return seen


def verdict(**changes: object) -> Verdict:
    return judge([good(), good(**changes)], REFERENCES, [])


def test_jobs_that_came_to_their_hash_are_fine() -> None:
    found = verdict()
    assert found.is_clean and found.jobs == 2


def test_other_weights_are_a_wrong_hash() -> None:
    found = verdict(weights_sha256="bb" * 32)
    assert (found.wrong_hashes, found.lost, found.hangs) == (1, 0, 0)
    assert found.complaints == (
        "wrong hash: job 7 (gpt-1, jobs/gpt-1-x) on 3 workers came to bbbbbbbbbbbb, "
        "not aaaaaaaaaaaa",
    )


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, None])
def test_a_job_without_a_good_end_is_lost(state: State | None) -> None:
    found = verdict(state=state, weights_sha256="", message="it broke")
    assert (found.lost, found.wrong_hashes) == (1, 0)


def test_a_job_that_hangs_is_not_lost_as_well() -> None:
    found = verdict(state=State.RUNNING, weights_sha256="", hang="not ended after 180 s")
    assert (found.hangs, found.lost) == (1, 0)


@pytest.mark.parametrize("revisions", [[1, 2, 4], [1, 2, 2, 3], [2, 3]])
def test_a_revision_that_is_missing_or_comes_twice_is_a_wrong_history(
    revisions: list[int],
) -> None:
    assert verdict(revisions=revisions).wrong_histories == 1


def test_a_move_that_is_not_allowed_is_a_wrong_history() -> None:
    (complaint,) = verdict(states=[State.QUEUED, State.SUCCEEDED]).complaints
    assert complaint.endswith("went from QUEUED to SUCCEEDED")


def test_what_is_left_over_is_a_leak() -> None:
    found = judge([good()], REFERENCES, ["segment /dev/shm/gradloom-1"])
    assert found.leaks == 1 and not found.is_clean
