"""F18: frames that are flipped, repeated, swapped or cut on the way between two cells."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.worker.exchange.exchange import Broken, Layout, Why
from gradloom.worker.exchange.frames import PIECE
from gradloom.worker.exchange.listener import Listener
from tests.worker.exchange.formations import enter, formation, steps
from tests.worker.exchange.proxy import Proxy, Spoil

# Some pieces for each slice.
LAYOUT = Layout(3 * PIECE // 4 + 5, 2, 5)


def flip_in_the_body(frame: bytes) -> list[bytes]:
    return [frame[:-1] + bytes([frame[-1] ^ 1])]


def flip_in_the_header(frame: bytes) -> list[bytes]:
    """In the offset, which says where a piece belongs."""
    return [frame[:25] + bytes([frame[25] ^ 4]) + frame[26:]]


def repeat(frame: bytes) -> list[bytes]:
    return [frame, frame]


def drop(frame: bytes) -> list[bytes]:
    return []


def cut(frame: bytes) -> None:
    return None


SPOILS = (flip_in_the_body, flip_in_the_header, repeat, drop, cut)


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Callable[..., tuple[Proxy, list[object]]]]:
    """Makes steps of two cells of one member with a proxy between them."""
    listeners = [Listener("127.0.0.1") for _ in range(2)]
    closing: list[Listener | Proxy] = [*listeners]

    def run(spoil: Spoil, times: int, count: int, middle: int = 3) -> tuple[Proxy, list[object]]:
        formed = formation(listeners, (0, 1), (0, middle, 5), tmp_path, patience=3.0)
        proxy = Proxy(listeners[0].address, spoil, times)
        closing.append(proxy)
        first = replace(formed.members[0], address=proxy.address)
        formed = replace(formed, members=(first, formed.members[1]))
        exchanges = enter(formed, listeners, LAYOUT)
        return proxy, steps(formed, exchanges, LAYOUT, count)

    yield run
    for each in closing:
        each.close()


# The first member sums up to two nodes or to one.
@pytest.mark.parametrize("middle", [3, 4], ids=["slices are swapped", "nodes are traded"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("spoil", SPOILS)
def test_what_was_spoiled_is_sent_again(
    spoil: Spoil, times: int, middle: int, between: Callable[..., tuple[Proxy, list[object]]]
) -> None:
    proxy, results = between(spoil, times, 3, middle)
    assert results == [True] * 6
    assert proxy.spoiled == times


@pytest.mark.parametrize("spoil", [flip_in_the_body, flip_in_the_header, repeat])
def test_the_third_time_the_peer_is_given_up(
    spoil: Spoil, between: Callable[..., tuple[Proxy, list[object]]]
) -> None:
    _, results = between(spoil, 1000, 1)
    broken = [result for result in results if isinstance(result, Broken)]
    assert len(broken) == 2
    assert Why.CORRUPT in {each.why for each in broken}
