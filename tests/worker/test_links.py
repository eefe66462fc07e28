"""Ways between nodes are measured as they are; who has no key learns nothing."""

import socket
from collections.abc import Iterator

import pytest

from gradloom.worker.links import Listener, measure

KEY = b"k" * 32


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener("127.0.0.1", KEY)
    yield listener
    listener.close()


def test_a_way_has_a_round_trip_and_a_speed(listener: Listener) -> None:
    facts = measure("127.0.0.1", listener.port, KEY)
    assert facts.failure == ""
    assert 0 < facts.round_trip_seconds < 0.1
    assert facts.bytes_per_second > 10e6


def test_a_listener_answers_one_after_the_other(listener: Listener) -> None:
    failures = [measure("127.0.0.1", listener.port, KEY).failure for _ in range(2)]
    assert failures == ["", ""]


def test_another_key_gets_no_answer(listener: Listener) -> None:
    assert measure("127.0.0.1", listener.port, b"x" * 32).failure
    assert measure("127.0.0.1", listener.port, KEY).failure == ""


def test_a_listener_survives_who_hangs_up(listener: Listener) -> None:
    socket.create_connection(("127.0.0.1", listener.port)).close()
    assert measure("127.0.0.1", listener.port, KEY).failure == ""


def test_nobody_there_is_a_failure_with_its_reason(listener: Listener) -> None:
    listener.close()
    assert "refused" in measure("127.0.0.1", listener.port, KEY).failure
