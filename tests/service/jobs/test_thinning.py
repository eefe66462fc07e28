"""Which samples of a long history go."""

from itertools import pairwise

from gradloom.service.jobs.thinning import MOST_EVENTS, forgotten, is_due


def test_a_short_history_is_left_alone() -> None:
    assert not is_due(range(1, 9_501))
    assert forgotten(range(1, 9_000), (), 9_000) == ()


def test_it_is_looked_at_now_and_then_once_it_is_long() -> None:
    assert is_due([9_999, 10_000])
    assert not is_due([10_001])
    assert sum(is_due([revision]) for revision in range(10_001, 12_001)) == 4


def test_every_second_of_the_oldest_samples_goes() -> None:
    gone = forgotten(range(1, MOST_EVENTS + 1), (), MOST_EVENTS)
    assert gone == tuple(range(2, 1_001, 2))


def test_what_was_measured_goes_after_all_else() -> None:
    trained, measured = range(1, 501, 2), range(2, 10_000, 2)
    gone = forgotten(trained, measured, MOST_EVENTS)
    assert gone == (*range(3, 499, 4), *range(1, 499, 4), *range(4, 1_005, 4))


def test_the_newest_sample_stays_even_where_everything_else_is_to_stay() -> None:
    assert forgotten([7, 8, 9], (), 20_000) == (8, 7)
    assert forgotten((), (), 20_000) == ()


def test_a_history_of_any_length_stays_below_the_most() -> None:
    kept: list[int] = []
    for revision in range(1, 60_001):
        kept.append(revision)
        if is_due([revision]):
            gone = set(forgotten(kept, (), len(kept)))
            kept = [each for each in kept if each not in gone]
        assert len(kept) <= MOST_EVENTS
    gaps = [b - a for a, b in pairwise(kept)]
    assert kept[0] == 1 and kept[-1] == 60_000
    assert gaps[-1] == 1 and max(gaps) > 4
