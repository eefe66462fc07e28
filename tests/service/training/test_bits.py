"""Who came to other bits than the others."""

from gradloom.service.jobs.states import Reason
from gradloom.service.training.bits import dispute, with_their_cells
from gradloom.worker.messages import Member


def wrong(*hashes: str) -> list[int]:
    found = dispute(dict(enumerate(hashes)), "the parameters")
    return [culprit.worker for culprit in found.culprits] if found else []


def test_who_agrees_has_no_dispute() -> None:
    assert dispute({0: "a", 3: "a"}, "the parameters") is None
    assert dispute({0: "a"}, "the parameters") is None
    assert dispute({}, "the parameters") is None


def test_the_minority_is_wrong() -> None:
    assert wrong("a", "b", "a") == [1]
    assert wrong("a", "b", "c", "a", "a") == [1, 2]


def test_of_two_nobody_knows() -> None:
    assert wrong("a", "b") == [0, 1]


def test_without_more_than_half_of_the_votes_nobody_knows() -> None:
    assert wrong("a", "b", "b", "a") == [0, 1, 2, 3]
    assert wrong("a", "b", "c") == [0, 1, 2]


def test_the_sentence_names_who_is_wrong() -> None:
    found = dispute({4: "a", 7: "b", 9: "a"}, "the parameters at step 6")
    assert found and found.message == (
        "Worker 7 came to other bits of the parameters at step 6 than the majority."
    )
    assert found.culprits[0].reason is Reason.BITS_DIFFER


def test_the_sentence_says_that_nobody_knows() -> None:
    found = dispute({4: "a", 7: "b"}, "the parameters at step 6")
    assert found and found.message == (
        "Workers 4 and 7 came to other bits of the parameters at step 6, and there is no majority "
        "that says who is right."
    )


def test_the_members_of_a_cell_leave_with_their_leader() -> None:
    members = [Member(w, cell, "", 0, w, w + 1) for w, cell in enumerate((0, 0, 2, 2, 4))]
    found = dispute({0: "a", 2: "b", 4: "a"}, "the parameters")
    assert found
    assert [culprit.worker for culprit in with_their_cells(found, members).culprits] == [2, 3]
