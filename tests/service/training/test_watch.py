"""Who is waited for, and until when."""

import pytest

from gradloom.service.training.events import Silent
from gradloom.service.training.watch import Watch


def asked(*workers: int, patience: float = 2.0) -> Watch:
    """A watch of workers that were asked for round 7 at time 0."""
    watch = Watch()
    for worker in workers:
        watch.asked(worker, 7, 0.0, patience)
    return watch


def silent_at(watch: Watch, now: float) -> list[int]:
    watch.looked(now)
    return [each.worker for each in watch.silent(now)]


def test_a_worker_is_started_when_its_time_has_come() -> None:
    watch = Watch()
    watch.start(3, 5.0)
    assert (watch.due(4.9), watch.due(5.0)) == ([], [3])


def test_a_worker_that_is_not_wanted_any_more_is_not_started() -> None:
    watch = Watch()
    watch.start(3, 5.0)
    watch.stopped(3)
    assert watch.due(9.0) == []


def test_a_worker_that_does_not_come_up_is_late() -> None:
    watch = Watch()
    watch.started(3, 60.0)
    assert (watch.late(60.0), watch.late(60.1)) == ([], [3])
    watch.ready(3)
    assert watch.late(60.1) == []


def test_a_round_is_overdue_once() -> None:
    watch = Watch()
    watch.expect(0.0, 7.0)
    assert [watch.is_overdue(now) for now in (7.0, 7.1, 7.2)] == [False, True, False]


def test_a_newer_limit_takes_the_place_of_the_older_one() -> None:
    watch = Watch()
    watch.expect(0.0, 7.0)
    watch.expect(2.0, 7.0)
    assert not watch.is_overdue(8.0)


def test_one_listens_until_something_has_to_be_done_and_no_longer() -> None:
    watch = Watch()
    assert watch.patience(0.0, 0.1) == 0.1
    watch.start(1, 0.05)
    watch.expect(0.0, 7.0)
    assert (watch.patience(0.0, 0.1), watch.patience(8.0, 0.1)) == (0.05, 0.0)


def test_a_worker_that_owes_an_answer_and_says_nothing_is_silent_once() -> None:
    watch = asked(1)
    assert [silent_at(watch, now / 2) for now in range(7)] == [[], [], [], [], [], [1], []]


def test_a_worker_that_beats_is_not_silent() -> None:
    watch = asked(1, 2)
    for tenths in range(0, 30, 5):
        watch.alive(1, tenths / 10, reads=False)
        assert silent_at(watch, tenths / 10) == ([2] if tenths == 25 else [])


def test_a_worker_that_owes_nothing_may_be_silent() -> None:
    watch = asked(1, 2)
    watch.answered(1)
    watch.stopped(2)
    assert [silent_at(watch, float(now)) for now in range(4)] == [[], [], [], []]


def test_nobody_is_silent_to_who_did_not_listen() -> None:
    watch = asked(1)
    watch.looked(0.5)
    assert silent_at(watch, 9.0) == []
    assert [silent_at(watch, now) for now in (9.9, 10.8, 11.2)] == [[], [], [1]]


def test_a_silent_worker_is_told_with_its_round_and_where_it_stood() -> None:
    watch = asked(1)
    watch.stands(1, 7, 133)
    watch.stands(1, 6, 140)
    assert watch.stood(1) == 133
    assert watch.silent(2.5) == (Silent(1, 7, 2.5, 133, 2.5),)
    assert watch.stood(1) == -1


@pytest.mark.parametrize(("reads", "overdue"), [(False, True), (True, False)])
def test_a_round_has_its_whole_time_anew_while_a_worker_waits_for_data(
    reads: bool, overdue: bool
) -> None:
    watch = asked(1)
    watch.expect(0.0, 5.0)
    watch.alive(1, 4.0, reads=reads)
    assert watch.is_overdue(8.9) is overdue


def test_a_worker_that_owes_nothing_gives_nobody_time() -> None:
    watch = Watch()
    watch.expect(0.0, 5.0)
    watch.alive(1, 4.0, reads=True)
    assert watch.is_overdue(5.1)
