"""Answers to a round: what of them counts, and what is told anew when it was undone."""

from gradloom.service.training.rounds import Rounds
from gradloom.worker.messages import Answer, AnswerKind


def answer(number: int, *steps: int, skipped: int = 0) -> Answer:
    commits = [
        {
            "step": step,
            "loss": 0.5,
            "learning_rate": 0.1,
            "gradient_norm": 1.0,
            "metrics": {},
            "skipped": skipped,
            "health": None,
        }
        for step in steps
    ]
    return Answer(AnswerKind.DONE, number, {"commits": commits, "seconds": {}})


def steps_of(reports: tuple) -> list[int]:
    return [report.step for report in reports]


def test_a_step_that_two_workers_tell_of_is_reported_once() -> None:
    rounds = Rounds(start_step=0)
    rounds.begin(1, step=0)
    assert steps_of(rounds.add(answer(1, 1, 2))) == [1, 2]
    assert rounds.add(answer(1, 1, 2)) == ()
    assert steps_of(rounds.commit(2)) == [1, 2]


def test_an_answer_to_another_round_is_dropped() -> None:
    rounds = Rounds(start_step=0)
    rounds.begin(2, step=0)
    assert rounds.add(answer(1, 1)) == ()
    assert rounds.answers == ()


def test_a_step_that_was_undone_is_told_of_again() -> None:
    rounds = Rounds(start_step=0)
    rounds.begin(1, step=0)
    assert steps_of(rounds.add(answer(1, 1, 2, skipped=1))) == [1, 2]
    assert steps_of(rounds.commit(1)) == [1]
    rounds.begin(2, step=1)
    (again,) = rounds.add(answer(2, 2, skipped=1))
    assert (again.step, again.skipped) == (2, 1)


def test_steps_that_count_may_be_asked_for_when_the_next_round_has_begun() -> None:
    rounds = Rounds(start_step=0)
    rounds.begin(1, step=0)
    rounds.add(answer(1, 1, 2, 3))
    rounds.begin(2, step=2)
    assert steps_of(rounds.commit(2)) == [1, 2]
    assert steps_of(rounds.add(answer(2, 3))) == [3]
