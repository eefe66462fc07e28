"""What is inside ends before what is around it, so that the right one is named."""

import pytest

from gradloom.service.training import deadlines
from gradloom.worker.exchange.deadlines import CONNECT, PEER_SOCKET, SILENCE, for_own_leader

STEPS = [0.0001, 0.01, 0.5, 5.0, 30.0]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_a_round_outlasts_the_members_patience_with_each_other(step: float, steps: int) -> None:
    patience = deadlines.patience(step)
    assert for_own_leader(patience) < deadlines.round_limit(steps, step, patience)


@pytest.mark.parametrize("step", STEPS)
def test_the_others_notice_before_they_are_given_up_with_the_culprit(step: float) -> None:
    patience = deadlines.patience(step)
    assert step + for_own_leader(patience) <= deadlines.agreement(step, patience)


@pytest.mark.parametrize("step", STEPS)
def test_patience_outlasts_a_step(step: float) -> None:
    assert step < deadlines.patience(step) <= deadlines.MOST_PATIENCE


def test_a_frozen_worker_is_noticed_within_three_steps_and_two_seconds() -> None:
    assert deadlines.patience(0.5) == pytest.approx(3 * 0.5 + 2)


def test_before_a_step_is_measured_members_wait_for_kernels_to_be_compiled() -> None:
    assert deadlines.patience(None) == deadlines.UNLEARNED_PATIENCE


def test_a_first_round_leaves_time_to_connect() -> None:
    least = deadlines.patience(0.0)
    assert CONNECT + least < deadlines.round_limit(1, None, least)


def test_the_drain_ends_before_the_service_is_killed() -> None:
    assert deadlines.DRAIN < deadlines.SHUTDOWN


def test_a_lost_node_is_given_up_within_five_seconds() -> None:
    assert max(PEER_SOCKET, SILENCE) + deadlines.CONFIRMATION < 5.0


def test_who_is_frozen_while_it_measures_is_noticed_as_soon_as_one_that_trains() -> None:
    assert deadlines.evaluation_limit(50, 0.01) < deadlines.round_limit(50, 0.01, 2.03) + 1.0


def test_a_look_for_what_is_not_finite_may_take_many_steps_time() -> None:
    assert deadlines.other_limit(30.0) > 10 * 30.0
