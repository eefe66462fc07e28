"""Whole messages over a socket whose other end may not read, not finish, or be gone."""

import os
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from gradloom.service.fleet.channel import Channel

LARGE = b"large" * 300_000


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Connection]]:
    ours, theirs = socket.socketpair()
    channel, connection = Channel(ours), Connection(theirs.detach())
    yield channel, connection
    channel.close()
    connection.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Connection]) -> None:
    channel, connection = ends
    connection.send_bytes(b"one")
    connection.send_bytes(b"")
    assert channel.receive() == (b"one", b"")
    assert channel.receive() == ()


def test_sending_does_not_wait_for_one_who_does_not_read(
    ends: tuple[Channel, Connection],
) -> None:
    channel, connection = ends
    channel.send(LARGE)
    assert channel.has_more_to_send
    received = b""
    while channel.has_more_to_send or connection.poll(0):
        received += os.read(connection.fileno(), 1 << 16) if connection.poll(0) else b""
        channel.flush()
    assert received[4:] == LARGE


def test_half_a_message_is_none_yet(ends: tuple[Channel, Connection]) -> None:
    channel, connection = ends
    os.write(connection.fileno(), b"\0\0\0\5he")
    assert channel.receive() == ()
    os.write(connection.fileno(), b"llo")
    assert channel.receive() == (b"hello",)


def test_what_was_said_before_the_end_is_still_heard(ends: tuple[Channel, Connection]) -> None:
    channel, connection = ends
    connection.send_bytes(b"last words")
    connection.close()
    assert channel.receive() == (b"last words",)
    with pytest.raises(EOFError):
        channel.receive()


def test_the_frames_of_long_messages_are_understood() -> None:
    """A message of more than two gigabytes announces itself in another way."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.sendall(b"\xff\xff\xff\xff" + (5).to_bytes(8, "big") + b"hello")
    assert channel.receive() == (b"hello",)
    channel.close()
    theirs.close()
