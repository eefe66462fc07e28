"""The queue moves in order, as far as the CPUs go."""

from gradloom.service.jobs.states import Reason
from gradloom.service.training.scheduler import Hold, Start, Waiting, decide


def test_as_many_jobs_start_as_fit() -> None:
    queue = [Waiting("a", 1), Waiting("b", 1), Waiting("c", 1)]
    first, second, third = decide(queue, {}, 2, may_share=True)
    assert (first, second) == (Start("a", 1), Start("b", 1))
    assert isinstance(third, Hold)
    assert third.blocked_by == ("a", "b")


def test_nobody_overtakes_a_larger_job_in_front() -> None:
    large, small = decide([Waiting("large", 2), Waiting("small", 1)], {"x": 1}, 2, may_share=True)
    assert isinstance(large, Hold)
    assert isinstance(small, Hold)
    assert (large.position, small.position) == (1, 2)


def test_a_job_waits_with_its_reason() -> None:
    (hold,) = decide([Waiting("a", 2)], {"x": 2}, 2, may_share=True)
    assert hold == Hold(
        "a",
        1,
        ("x",),
        Reason.WAITING_FOR_CAPACITY,
        "needs 2 of 2 CPUs, 0 free; held by x (2)",
    )


def test_more_workers_than_cpus_share_this_machine() -> None:
    assert decide([Waiting("a", 8)], {}, 2, may_share=True) == (Start("a", 2),)


def test_a_job_too_large_for_the_cluster_lets_others_pass() -> None:
    hold, start = decide([Waiting("large", 8), Waiting("a", 1)], {}, 2, may_share=False)
    assert isinstance(hold, Hold)
    assert hold.reason is Reason.INSUFFICIENT_CAPACITY
    assert start == Start("a", 1)


def test_an_empty_queue_decides_nothing() -> None:
    assert decide([], {"a": 2}, 2, may_share=True) == ()


def test_nothing_starts_while_the_fleet_is_in_trouble() -> None:
    held = decide([Waiting("a", 1), Waiting("b", 1)], {}, 2, may_share=True, trouble="no head")
    assert held == tuple(
        Hold(name, position, (), Reason.RAY_UNREACHABLE, "no head")
        for position, name in enumerate("ab", 1)
    )
