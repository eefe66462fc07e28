"""What will be done follows from the seed alone."""

from itertools import islice

from benchmarks.chaos.cases import KINDS, SHARDS, Case
from benchmarks.chaos.generator import ONE_NODE, Kind, jobs, moments

CASES = [Case(kind, seed, 100) for kind in KINDS for seed in (1, 2)]


def test_one_seed_gives_the_same_faults_and_jobs_again() -> None:
    first, again = (list(islice(moments("a", ONE_NODE, 2.0), 50)) for _ in range(2))
    assert first == again
    assert list(islice(jobs("a", CASES), 50)) == list(islice(jobs("a", CASES), 50))


def test_another_seed_gives_others() -> None:
    assert next(moments("a", ONE_NODE, 2.0)) != next(moments("b", ONE_NODE, 2.0))


def test_every_kind_of_fault_comes_up_and_some_come_together() -> None:
    drawn = list(islice(moments("a", ONE_NODE, 2.0), 1_000))
    assert {fault.kind for moment in drawn for fault in moment.faults} == set(ONE_NODE)
    assert {len(moment.faults) for moment in drawn} == {1, 2, 3, 4}


def test_a_node_is_not_lost_where_there_is_only_one() -> None:
    assert not {Kind.KILL_NODE, Kind.CUT_NETWORK} & set(ONE_NODE)


def test_pauses_are_as_long_as_asked_for_in_the_mean() -> None:
    pauses = [moment.pause for moment in islice(moments("a", ONE_NODE, 2.0), 2_000)]
    assert 1.6 < sum(pauses) / len(pauses) < 2.2


def test_jobs_want_every_number_of_workers_and_are_of_every_case() -> None:
    drawn = list(islice(jobs("a", CASES), 200))
    assert {job.workers for job in drawn} == set(range(1, SHARDS + 1))
    assert {job.case for job in drawn} == set(CASES)
    assert [job.number for job in drawn] == list(range(1, 201))


def test_a_case_gets_a_round_number_of_steps() -> None:
    assert Case("gpt", 1, 0).lasting(4, 123.4).steps == 490
    assert Case("gpt", 1, 0).lasting(4, 1_234.5).steps == 4_900
    assert Case("gpt", 1, 0).lasting(4, 0.1).steps == 20
