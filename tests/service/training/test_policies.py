"""Whose fault a failure is, and how long to wait before the next worker is tried."""

from gradloom.service.jobs.states import Reason
from gradloom.service.training.policies import Failure, FailurePolicy


def failed(step: int, round: int, reason: Reason = Reason.WORKER_LOST, **more: object) -> Failure:
    fields = {"started": True, "time": 0.0} | more
    return Failure(reason, "its story", step, round, **fields)  # type: ignore[arg-type]


def test_replacements_wait_longer_and_longer() -> None:
    policy, waited = FailurePolicy(99), []
    for number in range(9):
        policy = policy.after(failed(number, number))
        waited.append(policy.backoff())
    assert waited == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_workers_that_die_together_count_once_for_the_wait() -> None:
    assert FailurePolicy(99).after(failed(5, 1), failed(5, 1)).backoff() == 0.0


def test_old_failures_make_nobody_wait() -> None:
    policy = FailurePolicy(99).after(failed(1, 1)).after(failed(2, 2, time=601.0))
    assert policy.backoff() == 0.0


def test_faults_of_nodes_and_networks_use_no_budget() -> None:
    policy = FailurePolicy(budget=1)
    for number in range(9):
        policy = policy.after(failed(3, number, Reason.NETWORK_CUT))
        assert policy.verdict() is None


def test_a_death_somewhere_in_a_long_round_may_have_been_at_each_of_its_steps() -> None:
    policy = FailurePolicy(10).after(failed(10, 1, end=20))
    assert [policy.steps_until_suspect(step) for step in (5, 10, 19, 20)] == [5, 1, 1, None]


def test_deaths_at_one_step_end_the_job_however_long_their_rounds_were() -> None:
    policy = FailurePolicy(10).after(failed(10, 1, end=20), failed(15, 2, end=16))
    assert policy.verdict() is None
    verdict = policy.after(failed(15, 3, end=16)).verdict()
    assert verdict and verdict.reason is Reason.CRASH_LOOP


def test_deaths_in_long_rounds_may_have_been_at_one_step_that_none_of_the_rounds_began_with() -> (
    None
):
    policy = FailurePolicy(10).after(failed(10, 1, end=20), failed(13, 2, end=20))
    verdict = policy.after(failed(12, 3, end=15)).verdict()
    assert verdict and verdict.reason is Reason.CRASH_LOOP
    assert verdict.message.startswith("workers died 3 times at step 14")


def test_deaths_that_cannot_have_been_at_one_step_do_not_end_the_job() -> None:
    policy = FailurePolicy(10).after(failed(10, 1, end=13), failed(13, 2, end=20))
    assert policy.after(failed(12, 3, end=20)).verdict() is None


def test_a_step_that_was_committed_is_not_to_blame_when_it_is_made_again() -> None:
    policy = FailurePolicy(10).after(failed(10, 1, end=20), failed(12, 2, end=13)).past(15)
    assert [policy.steps_until_suspect(step) for step in (12, 15, 19, 20)] == [3, 1, 1, None]
    assert policy.after(failed(12, 3, end=13)).verdict() is None
    assert policy.after(failed(17, 3, end=18), failed(17, 4, end=18)).verdict()


def test_a_commit_excuses_no_other_bits() -> None:
    policy = FailurePolicy(10)
    for number in range(3):
        policy = policy.past(9).after(failed(4, number, Reason.BITS_DIFFER, time=1000.0 * number))
    verdict = policy.verdict()
    assert verdict and verdict.reason is Reason.BITS_DIFFER


def test_no_step_is_to_blame_for_the_death_of_who_was_idle() -> None:
    policy = FailurePolicy(10)
    for number in range(3):
        policy = policy.after(failed(4, number, is_idle=True))
        assert policy.verdict() is None
    assert policy.steps_until_suspect(4) is None


def test_what_befell_workers_at_a_step_must_be_the_same_each_time() -> None:
    reasons = (Reason.WORKER_FROZEN, Reason.WORKER_LOST, Reason.WORKER_LOST)
    policy = FailurePolicy(10)
    for number, reason in enumerate(reasons):
        policy = policy.after(failed(4, number, reason))
        assert policy.verdict() is None
    verdict = policy.after(failed(4, 3)).verdict()
    assert verdict and verdict.reason is Reason.CRASH_LOOP


def test_a_step_that_is_to_blame_ends_one_worker_each_time_or_all() -> None:
    policy = FailurePolicy(10)
    for number, spares_others in enumerate((True, False, True)):
        policy = policy.after(failed(4, number, spares_others=spares_others))
        assert policy.verdict() is None
    for spares_others in (True, None):
        verdict = policy.after(failed(4, 3, spares_others=spares_others)).verdict()
        assert verdict and verdict.reason is Reason.CRASH_LOOP


def test_a_verdict_names_the_cause_the_worker_the_node_the_step_and_its_last_words() -> None:
    last = failed(
        4, 9, Reason.WORKER_ERROR, worker=3, node="node-b", log=("Traceback", "ValueError: 7")
    )
    verdict = FailurePolicy(10).after(failed(4, 8, Reason.WORKER_ERROR), last).verdict()
    assert verdict
    for part in ("its story", "worker 3", "node-b", "step 5", "ValueError: 7"):
        assert part in verdict.message


def test_who_cannot_start_costs_nothing_while_others_train() -> None:
    policy = FailurePolicy(2)
    for _ in range(4):
        policy = policy.after(failed(1, 1, Reason.WORKER_START_FAILED, started=False))
    assert policy.verdict(goes_on=True) is None
    verdict = policy.verdict()
    assert verdict and verdict.reason is Reason.WORKER_START_FAILED


def test_who_cannot_start_because_its_node_is_lost_counts_as_no_start_that_failed() -> None:
    policy = FailurePolicy(budget=2)
    for reason in (Reason.NODE_LOST, Reason.NETWORK_CUT) * 3 + (Reason.WORKER_START_FAILED,) * 2:
        policy = policy.after(failed(0, 0, reason, started=False))
        assert policy.verdict() is None


def test_workers_that_come_to_other_bits_again_and_again_end_the_job() -> None:
    policy = FailurePolicy(budget=0)
    for number in range(2):
        policy = policy.after(failed(200 * number, number, Reason.BITS_DIFFER))
        assert policy.verdict() is None
    verdict = policy.after(failed(200, 2, Reason.BITS_DIFFER, worker=1, node="node-b")).verdict()
    assert verdict and verdict.reason is Reason.BITS_DIFFER
    assert "node-b" in verdict.message


def test_bits_that_differed_long_ago_are_forgiven() -> None:
    policy = FailurePolicy(budget=0)
    for number in range(9):
        policy = policy.after(failed(number, number, Reason.BITS_DIFFER, time=400.0 * number))
        assert policy.verdict() is None


def test_a_step_at_which_bits_always_differ_ends_the_job_however_long_it_takes() -> None:
    policy = FailurePolicy(budget=0)
    for number in range(3):
        assert policy.failures == () or policy.verdict() is None
        policy = policy.after(failed(200, number, Reason.BITS_DIFFER, time=9_000.0 * number))
    verdict = policy.verdict()
    assert verdict and verdict.reason is Reason.BITS_DIFFER
