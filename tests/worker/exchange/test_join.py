"""Every exchange gives the star's bits: alone, in one cell, between cells, and both."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from gradloom.worker.exchange.exchange import Layout
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.exchange.loom import Loom
from gradloom.worker.messages import Member
from tests.worker.exchange.formations import (
    CERTIFICATE,
    enter,
    expected,
    fill,
    formation,
    step,
    together,
)

SIZE = 3 * 8192 + 11


SHAPES = {
    "alone": (0,),
    "one cell of two": (0, 0),
    "one cell of five": (0, 0, 0, 0, 0),
    "two cells of one": (0, 1),
    "three cells of one": (0, 1, 2),
    "two cells of several": (0, 0, 1, 1, 1),
    "three cells of several, by turns": (0, 1, 2, 0, 1, 2, 0),
}


def bounds(cells: Sequence[int], shards: int, seed: int) -> list[int]:
    """Uneven ranges in the order of the members, some of them empty."""
    cuts = sorted(Random(seed).randint(0, shards) for _ in cells[1:])
    return [0, *cuts, shards]


@pytest.mark.parametrize("certificate", [b"", CERTIFICATE], ids=["plain", "TLS"])
@pytest.mark.parametrize("shards", [1, 5, 8, 13])
@pytest.mark.parametrize("cells", SHAPES.values(), ids=SHAPES)
def test_all_members_come_to_the_bits_of_the_star(
    cells: tuple[int, ...],
    shards: int,
    certificate: bytes,
    listeners: list[Listener],
    tmp_path: Path,
) -> None:
    layout = Layout(SIZE, 2, shards)
    ears = listeners[: len(cells)]
    ranges = bounds(cells, shards, shards)
    formed = formation(ears, cells, ranges, tmp_path, certificate=certificate)
    exchanges = enter(formed, ears, layout)
    for number in range(3):
        tasks = [
            lambda e=exchange, m=member, n=number: step(e, m, layout, n)
            for exchange, member in zip(exchanges, formed.members, strict=True)
        ]
        assert set(together(tasks)) == {expected(formed, layout, number)}


HALVES = {
    "one cell": ((0, 0), (0, 4, 6)),
    "cells that swap slices": ((0, 1), (0, 3, 6)),
    "cells that trade nodes": ((0, 1), (0, 4, 6)),
    "cells of several that trade nodes": ((0, 0, 1, 1), (0, 1, 4, 5, 6)),
}


@pytest.mark.parametrize(("cells", "ranges"), HALVES.values(), ids=HALVES)
def test_the_whole_sum_is_the_stars_however_often_it_is_asked_for(
    cells: tuple[int, ...], ranges: tuple[int, ...], listeners: list[Listener], tmp_path: Path
) -> None:
    layout = Layout(SIZE, 2, 6)
    ears = listeners[: len(cells)]
    formed = formation(ears, cells, ranges, tmp_path)
    exchanges = enter(formed, ears, layout)

    def wholes(exchange: Loom, member: Member, number: int) -> tuple[bytes, ...]:
        fill(exchange, member, layout, number)
        exchange.agree()
        exchange.begin_sum()
        found = exchange.whole().tobytes(), exchange.whole().tobytes()
        exchange.agree()
        return found

    for number in range(2):
        tasks = [
            lambda e=exchange, m=member, n=number: wholes(e, m, n)
            for exchange, member in zip(exchanges, formed.members, strict=True)
        ]
        assert set(together(tasks)) == {(expected(formed, layout, number),) * 2}
