"""Who has to leave a formation that broke."""

from gradloom.service.jobs.states import Reason
from gradloom.service.training.breaches import Blame, cut_off, lost_nodes, most_blamed, silent
from gradloom.worker.exchange.exchange import Why


def blame(by: int, culprit: int, why: Why = Why.UNREACHABLE) -> Blame:
    return Blame(by, culprit, why, f"{by} says that {culprit} is {why}")


def left(cells: dict[int, int], *blames: Blame) -> list[int]:
    return [culprit.worker for culprit in cut_off(cells, blames)]


def test_the_larger_side_of_a_cut_goes_on() -> None:
    cells = {0: 0, 1: 1, 2: 1}
    assert left(cells, blame(0, 1), blame(1, 0)) == [0]


def test_of_sides_alike_that_with_the_lowest_worker_goes_on() -> None:
    assert left({0: 0, 1: 1}, blame(1, 0), blame(0, 1)) == [1]


def test_one_says_so_and_it_is_a_cut() -> None:
    assert left({0: 0, 1: 1}, blame(1, 0)) == [1]


def test_the_node_that_none_can_reach_leaves_though_it_is_the_first() -> None:
    cells = {0: 0, 1: 1, 2: 2}
    assert left(cells, blame(0, 1), blame(1, 0), blame(2, 0)) == [0]


def test_two_against_two() -> None:
    cells = {0: 0, 1: 1, 2: 2, 3: 3}
    assert left(cells, blame(0, 2), blame(1, 2), blame(2, 0), blame(3, 0)) == [2, 3]


def test_what_is_said_of_the_dead_is_no_cut() -> None:
    assert left({0: 0, 1: 1}, blame(0, 9)) == []


def test_members_of_one_node_are_not_cut_off_from_each_other() -> None:
    assert left({0: 0, 1: 0}, blame(0, 1), blame(1, 0)) == []


def test_to_be_called_lost_by_another_is_no_reason_to_leave_for_who_lives() -> None:
    assert left({0: 0, 1: 1}, blame(0, 1, Why.LOST), blame(1, 0, Why.FROZEN)) == []


def test_who_does_not_answer_is_what_others_say_of_it() -> None:
    blames = [blame(0, 1, Why.FROZEN), blame(0, 2), blame(4, 3, Why.LOST)]
    reasons = [culprit.reason for culprit in silent({1, 2, 3, 5}, blames)]
    assert reasons == [
        Reason.WORKER_FROZEN,
        Reason.NETWORK_CUT,
        Reason.WORKER_LOST,
        Reason.WORKER_FROZEN,
    ]


def test_of_those_who_get_nowhere_the_most_blamed_leaves() -> None:
    blames = [blame(0, 1, Why.CORRUPT), blame(1, 0, Why.LOST), blame(2, 1, Why.LOST)]
    (culprit,) = most_blamed({0, 1, 2}, blames)
    assert (culprit.worker, culprit.reason) == (1, Reason.NODE_SUSPECT)


def test_a_node_is_lost_where_all_its_workers_vanish_and_others_are_left() -> None:
    assert lost_nodes({1: "b", 2: "b", 3: "c"}, {"a"}) == [("b", [1, 2])]
    assert lost_nodes({1: "b", 2: "b"}, {"a", "b"}) == []
    assert lost_nodes({1: "a", 2: "a"}, set()) == []
