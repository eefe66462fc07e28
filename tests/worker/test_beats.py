"""A worker's line to its service: beats while it is at work, and then an answer."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection

import pytest

from gradloom.worker.beats import SECONDS, Line

Ends = tuple[Connection, Line]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The service's end of a line, and the worker's."""
    one, other = (Connection(each.detach()) for each in socket.socketpair())
    yield one, Line(other, lambda: b"I live")
    one.close()


def test_a_worker_at_work_beats_until_it_answers(ends: Ends) -> None:
    service, line = ends
    service.send_bytes(b"an order")
    assert line.message() == b"an order"
    assert [service.recv_bytes() for _ in range(2)] == [b"I live", b"I live"]
    line.answer(b"done")
    while (said := service.recv_bytes()) != b"done":
        assert said == b"I live"
    assert not service.poll(3 * SECONDS)


def test_a_worker_with_nothing_to_do_says_nothing(ends: Ends) -> None:
    assert not ends[0].poll(3 * SECONDS)


def test_a_long_answer_comes_whole_though_it_takes_longer_than_a_beat(ends: Ends) -> None:
    service, line = ends
    service.send_bytes(b"an order")
    line.message()
    assert service.recv_bytes() == b"I live"
    answer = bytes(range(256)) * (1 << 16)
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(line.answer, answer)
        # Nobody reads for a while: the answer is stuck half way, and no beat comes between.
        with pytest.raises(TimeoutError):
            said.result(3 * SECONDS)
        while (came := service.recv_bytes()) == b"I live":
            pass
    assert came == answer


def test_beats_wait_for_nobody_who_does_not_listen() -> None:
    one, other = socket.socketpair()
    other.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            other.send(bytes(4096))
    other.setblocking(True)
    asked = threading.Event()

    def beat() -> bytes:
        asked.set()
        return b"I live"

    line = Line(Connection(other.detach()), beat)
    one.sendall(b"\0\0\0\2do")
    assert line.message() == b"do"
    assert not asked.wait(3 * SECONDS)
    one.close()
