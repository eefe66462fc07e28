"""The queue moves in order, as far as the CPUs go; what is left goes to jobs that may grow."""

from datetime import UTC, datetime

from gradloom.service.jobs.job import Transition
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.scheduler import Demand, Hold, Start, allot, decide, pause


def test_as_many_jobs_start_as_fit() -> None:
    queue = [Demand("a", 1), Demand("b", 1), Demand("c", 1)]
    first, second, third = decide(queue, [], 2, may_share=True)
    assert (first, second) == (Start("a", 1), Start("b", 1))
    assert isinstance(third, Hold)
    assert third.blocked_by == ("a", "b")


def test_nobody_overtakes_a_larger_job_in_front() -> None:
    large, small = decide(
        [Demand("large", 2), Demand("small", 1)], [Demand("x", 1)], 2, may_share=True
    )
    assert isinstance(large, Hold)
    assert isinstance(small, Hold)
    assert (large.position, small.position) == (1, 2)


def test_a_job_waits_with_its_reason() -> None:
    (hold,) = decide([Demand("a", 2)], [Demand("x", 2)], 2, may_share=True)
    assert hold == Hold(
        "a",
        1,
        ("x",),
        Reason.WAITING_FOR_CAPACITY,
        "needs 2 of 2 CPUs, 0 free; held by x (2)",
    )


def test_more_workers_than_cpus_share_this_machine() -> None:
    assert decide([Demand("a", 8)], [], 2, may_share=True) == (Start("a", 2),)


def test_a_job_too_large_for_the_cluster_lets_others_pass() -> None:
    hold, start = decide([Demand("large", 8), Demand("a", 1)], [], 2, may_share=False)
    assert isinstance(hold, Hold)
    assert hold.reason is Reason.INSUFFICIENT_CAPACITY
    assert start == Start("a", 1)


def test_an_empty_queue_decides_nothing() -> None:
    assert decide([], [Demand("a", 2)], 2, may_share=True) == ()


def test_a_job_that_can_do_with_fewer_makes_room_for_the_next() -> None:
    elastic, waiting = Demand("elastic", 2, fewest=1), Demand("next", 1)
    assert decide([waiting], [elastic], 2, may_share=False) == (Start("next", 1),)
    assert allot([elastic], 2) == {"elastic": 2}
    assert allot([elastic, waiting], 2) == {"elastic": 1, "next": 1}


def test_a_job_starts_with_as_few_workers_as_it_can_do_with() -> None:
    assert decide([Demand("a", 4, fewest=1)], [Demand("x", 1)], 2, may_share=False) == (
        Start("a", 1),
    )


def test_free_cpus_go_to_jobs_in_order_first_to_what_they_want() -> None:
    jobs = [Demand("a", 2, fewest=1, most=8), Demand("b", 2, fewest=1, most=8)]
    counts = [tuple(allot(jobs, cpus).values()) for cpus in range(2, 9)]
    assert counts == [(1, 1), (2, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2)]


def test_a_job_keeps_its_fewest_workers_when_cpus_vanish() -> None:
    assert allot([Demand("a", 4, fewest=2), Demand("b", 2)], 1) == {"a": 2, "b": 2}


def test_workers_that_are_more_than_the_cpus_share_them() -> None:
    assert allot([Demand("a", 8)], 2) == {"a": 8}


def test_a_job_that_may_have_fewer_than_the_cpus_is_not_made_to_share_them() -> None:
    assert allot([Demand("a", 8, fewest=1)], 2) == {"a": 2}


def test_nothing_starts_while_the_fleet_is_in_trouble() -> None:
    held = decide([Demand("a", 1), Demand("b", 1)], [], 2, may_share=True, trouble="no head")
    assert held == tuple(
        Hold(name, position, (), Reason.RAY_UNREACHABLE, "no head")
        for position, name in enumerate("ab", 1)
    )


def test_a_job_that_finds_no_place_lets_others_pass_and_says_what_is_free() -> None:
    crowded = Demand("crowded", 2, no_place="needs 2 workers × 1 CPU, free: 1 on node-a")
    hold, start = decide([crowded, Demand("a", 1)], [], 4, may_share=False)
    assert hold == Hold("crowded", 1, (), Reason.INSUFFICIENT_CAPACITY, crowded.no_place)
    assert start == Start("a", 1)


def moved(state: State, reason: Reason) -> Transition:
    return Transition(state, reason, "", datetime.now(UTC), 1)


CREATED = moved(State.QUEUED, Reason.CREATED)
TURNED_AWAY = (
    moved(State.STARTING, Reason.SCHEDULED),
    moved(State.QUEUED, Reason.INSUFFICIENT_CAPACITY),
)


def test_a_job_that_found_no_place_is_tried_at_once_and_then_ever_later() -> None:
    pauses = [pause((CREATED, *TURNED_AWAY * times)) for times in range(8)]
    assert pauses == [0, 0, 60, 120, 240, 480, 600, 600]


def test_what_was_before_a_job_had_its_workers_makes_it_wait_no_more() -> None:
    ran = moved(State.RUNNING, Reason.WORKERS_READY)
    assert pause((CREATED, *TURNED_AWAY * 3, ran, *TURNED_AWAY)) == 0
