"""Who is waited for, and until when."""

from gradloom.service.training.watch import Watch


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
    watch.expect(7.0)
    assert [watch.is_overdue(now) for now in (7.0, 7.1, 7.2)] == [False, True, False]


def test_a_newer_limit_takes_the_place_of_the_older_one() -> None:
    watch = Watch()
    watch.expect(7.0)
    watch.expect(9.0)
    assert not watch.is_overdue(8.0)


def test_one_listens_until_something_has_to_be_done_and_no_longer() -> None:
    watch = Watch()
    assert watch.patience(0.0, 0.1) == 0.1
    watch.start(1, 0.05)
    watch.expect(7.0)
    assert (watch.patience(0.0, 0.1), watch.patience(8.0, 0.1)) == (0.05, 0.0)
