"""What members say of their shards holds for one step of one formation, and for no other."""

import numpy as np
import pytest

from gradloom.worker.exchange.boards import Board, Boards, words_of
from gradloom.worker.exchange.exchange import Layout

LAYOUT = Layout(5, 2, 4, 3)


def boards(shares: tuple[range, ...]) -> list[Board]:
    """A board for each member, of what is its share."""
    return [
        Board(
            memoryview(bytearray(8 * words_of(LAYOUT))).cast("Q"),
            share,
            LAYOUT,
            (np.full(5, place, np.float32),),
        )
        for place, share in enumerate(shares)
    ]


@pytest.fixture
def pair() -> tuple[Boards, Boards]:
    """Two members, at the same step."""
    both = boards((range(2), range(2, 4)))
    first, second = Boards(both, 0, 1), Boards(both, 1, 1)
    first.next_step()
    second.next_step()
    return first, second


def test_what_one_has_done_the_other_finds(pair: tuple[Boards, Boards]) -> None:
    first, second = pair
    second.finish(1, (1.0, 2.5, -3.0))
    assert first.is_done(1)
    gradient, statistics = first.found(1)
    assert (gradient.tolist(), statistics) == ([1.0] * 5, (1.0, 2.5, -3.0))


def test_nothing_is_done_to_begin_with(pair: tuple[Boards, Boards]) -> None:
    first, second = pair
    assert not any(each.is_done(shard) for each in pair for shard in range(4))
    assert all(second.is_free(second.others[0], shard) for shard in range(2))
    assert first.own.pace == 0.0


def test_what_an_earlier_step_has_left_is_not_taken(pair: tuple[Boards, Boards]) -> None:
    first, second = pair
    second.begin(1, 0.0)
    second.finish(1, (0.0, 0.0, 0.0))
    first.next_step()
    assert not first.is_done(1)
    second.next_step()
    assert not first.has_begun(second.own, 1)


def test_what_an_earlier_formation_has_left_is_not_taken() -> None:
    both = boards((range(2), range(2, 4)))
    old, new = Boards(both, 1, 6), Boards(both, 0, 7)
    for each in (old, new):
        each.next_step()
    old.finish(1, (0.0, 0.0, 0.0))
    assert not new.is_done(1)


def test_a_shard_that_another_helper_is_at_is_not_free() -> None:
    three = boards((range(2), range(2, 3), range(3, 4)))
    owner, one, other = (Boards(three, place, 1) for place in range(3))
    for each in (owner, one, other):
        each.next_step()
    one.begin(1, 0.0)
    assert not other.is_free(owner.own, 1)
    assert other.is_free(owner.own, 0)
    owner.begin(0, 0.0)
    assert other.is_free(owner.own, 0)
    owner.finish(0, (0.0, 0.0, 0.0))
    assert not other.is_free(owner.own, 0)
