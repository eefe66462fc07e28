"""Who does not know the formation's key, or belongs to another one, is a stranger."""

from dataclasses import replace

import pytest

from gradloom.worker.exchange.greeting import (
    SAID_BY_CALLED,
    SAID_BY_CALLER,
    Greeted,
    Stranger,
    answer,
    call,
)
from gradloom.worker.messages import Formation

FORMATION = Formation(7, (), b"key" * 11, "", 1.0)


def talk(caller: Formation, called: Formation, *, asked: int = 1) -> tuple[Greeted, Greeted]:
    """What both sides learn, and everything that they say goes through here."""
    calling = call(caller, 2, asked, heard=40)
    answering = answer(called, 1, {2: lambda: 30})
    hello, _ = next(calling)
    next(answering)
    challenge, _ = answering.send(hello)
    proof, _ = calling.send(challenge)
    welcome, _ = answering.send(proof)
    assert len(hello) + len(proof) == SAID_BY_CALLER
    assert len(challenge) + len(welcome) == SAID_BY_CALLED
    return _end(calling, welcome), _end(answering, b"")


def _end(greeting: object, come: bytes) -> Greeted:
    with pytest.raises(StopIteration) as stopped:
        greeting.send(come)  # type: ignore[attr-defined]
    greeted: Greeted = stopped.value.value
    return greeted


def test_each_learns_who_the_other_is_and_what_it_has_heard() -> None:
    assert talk(FORMATION, FORMATION) == (Greeted(1, 30), Greeted(2, 40))


def test_who_calls_without_the_key_is_turned_away() -> None:
    with pytest.raises(Stranger):
        talk(replace(FORMATION, key=b"x" * 33), FORMATION)


def test_a_call_for_another_formation_or_worker_is_turned_away() -> None:
    with pytest.raises(Stranger):
        talk(replace(FORMATION, number=8), FORMATION)
    with pytest.raises(Stranger):
        talk(FORMATION, FORMATION, asked=3)


def test_nothing_that_was_said_before_opens_the_door_again() -> None:
    calling = call(FORMATION, 2, 1, 0)
    hello, _ = next(calling)
    first, second = (answer(FORMATION, 1, {2: lambda: 0}) for _ in range(2))
    for each in (first, second):
        next(each)
    proof, _ = calling.send(first.send(hello)[0])
    second.send(hello)
    with pytest.raises(Stranger):
        second.send(proof)
