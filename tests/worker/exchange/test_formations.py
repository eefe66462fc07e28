"""One formation after another: the state goes on, however cells and members change."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from gradloom.worker.exchange import holdings, segment
from gradloom.worker.exchange.deadlines import BEAT
from gradloom.worker.exchange.exchange import Broken, Layout, NoRoom, Why
from gradloom.worker.exchange.join import join
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.exchange.loom import Loom
from gradloom.worker.messages import Formation
from tests.worker.exchange.formations import enter, expected, formation, step, together

LAYOUT = Layout(2 * 8192 + 3, 2, 6)


def stepped(formed: Formation, exchanges: Sequence[Loom], number: int) -> None:
    """A step; everybody's state holds the star's sum."""
    tasks = [
        lambda e=exchange, m=member: step(e, m, LAYOUT, number)
        for exchange, member in zip(exchanges, formed.members, strict=True)
    ]
    assert set(together(tasks)) == {expected(formed, LAYOUT, number)}


MOVES = {
    "one becomes two": ((0,), (0, 0)),
    "two become one": ((0, 0), (0,)),
    "a cell falls apart": ((0, 0, 0), (0, 1, 2)),
    "a cell falls apart, and the numbers are others": ((0, 0, 0), (3, 1, 0)),
    "cells become one": ((0, 1, 2), (0, 0, 0)),
    "cells are others": ((0, 0, 1, 1), (0, 1, 1, 0)),
    "one joins elsewhere": ((0, 0), (0, 0, 1)),
}


@pytest.mark.parametrize(("old", "new"), MOVES.values(), ids=MOVES)
def test_whoever_had_the_state_has_it_after_cells_have_changed(
    old: tuple[int, ...], new: tuple[int, ...], listeners: list[Listener], tmp_path: Path
) -> None:
    first = formation(listeners[: len(old)], old, spread(old), tmp_path)
    before = enter(first, listeners[: len(old)], LAYOUT)
    stepped(first, before, 0)
    kept = [exchange.state[1].tobytes() for exchange in before]
    after = formation(listeners[: len(new)], new, spread(new), tmp_path, number=2)
    befores = [*before, *[None] * len(new)][: len(new)]
    exchanges = enter(after, listeners[: len(new)], LAYOUT, befores)
    for member, exchange, was in zip(after.members, exchanges, befores, strict=True):
        joins_others = any(
            b is not None and m.cell == member.cell
            for m, b in zip(after.members, befores, strict=True)
        )
        assert exchange.is_fresh == (was is None and not joins_others)
        if joins_others:
            assert exchange.state[0].tobytes() == expected(first, LAYOUT, 0)
            assert exchange.state[1].tobytes() == kept[0]
    stepped(after, exchanges, 1)


def spread(cells: Sequence[int]) -> list[int]:
    return [LAYOUT.shards * i // len(cells) for i in range(len(cells) + 1)]


def test_cells_that_part_no_longer_share_memory(listeners: list[Listener], tmp_path: Path) -> None:
    ears = listeners[:2]
    before = enter(formation(ears, (0, 0), (0, 3, 6), tmp_path), ears, LAYOUT)
    together([before[0].agree, before[1].agree])
    parted = enter(formation(ears, (0, 1), (0, 3, 6), tmp_path, number=2), ears, LAYOUT, before)
    parted[0].state[0][:], parted[1].state[0][:] = 1, 2
    assert parted[0].state[0][0] == 1


def test_a_state_that_was_never_filled_is_filled_anew(
    listeners: list[Listener], tmp_path: Path
) -> None:
    ears = listeners[:2]
    before = enter(formation(ears, (0, 0), (0, 3, 6), tmp_path), ears, LAYOUT)
    assert [exchange.is_fresh for exchange in before] == [True, False]
    after = enter(formation(ears, (0, 0), (0, 3, 6), tmp_path, number=2), ears, LAYOUT, before)
    assert [exchange.is_fresh for exchange in after] == [True, False]


@pytest.mark.parametrize("cells", [(0, 0), (0, 1)], ids=["one cell", "two cells"])
@pytest.mark.parametrize("late", [0, 1])
def test_a_member_that_is_busy_and_says_so_is_waited_for(
    cells: tuple[int, ...], late: int, listeners: list[Listener], tmp_path: Path
) -> None:
    ears = listeners[:2]
    formed = formation(ears, cells, (0, 3, 6), tmp_path, patience=0.3)
    exchanges = enter(formed, ears, LAYOUT)

    def agree_late() -> tuple[bytes, ...]:
        until = monotonic() + 3.0
        while monotonic() < until:
            exchanges[late].linger()
            sleep(BEAT)
        return exchanges[late].agree(b"late")

    said = together([agree_late, lambda: exchanges[1 - late].agree(b"soon")])
    assert [sorted(each) for each in said if isinstance(each, tuple)] == [[b"late", b"soon"]] * 2


def test_a_member_that_is_busy_hears_that_the_formation_broke(
    listeners: list[Listener], tmp_path: Path
) -> None:
    ears = listeners[:3]
    formed = formation(ears, (0, 1, 2), (0, 2, 4, 6), tmp_path, patience=0.3)
    exchanges = enter(formed, ears, LAYOUT)

    def linger() -> None:
        until = monotonic() + 10.0
        while monotonic() < until:
            exchanges[2].linger()
            sleep(BEAT)

    broken, _ = together([linger, lambda: exchanges[0].agree(b"the second one says nothing")])
    assert isinstance(broken, Broken)
    assert (broken.culprit, broken.why) == (1, Why.FROZEN)


def test_registers_suffice_when_ranges_change(listeners: list[Listener], tmp_path: Path) -> None:
    ears = listeners[:2]
    exchanges: list[Loom | None] = [None, None]
    for number, cut in enumerate([0, 1, 5, 6, 3], 1):
        formed = formation(ears, (0, 0), (0, cut, 6), tmp_path, number=number)
        exchanges = [*enter(formed, ears, LAYOUT, exchanges)]
        stepped(formed, [each for each in exchanges if each], number)


def test_of_a_run_nothing_is_left_in_the_folder(listeners: list[Listener], tmp_path: Path) -> None:
    ears = listeners[:2]
    enter(formation(ears, (0, 0), (0, 3, 6), tmp_path), ears, LAYOUT)
    assert not list(tmp_path.iterdir())


def test_where_one_member_has_no_room_all_say_so(
    listeners: list[Listener], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = segment.shared

    def shared(prefix: str, count: int, length: int, words: int) -> segment.Memory:
        if prefix.endswith("-1-slots"):
            raise NoRoom("needs 34 MB, 8 of 64 MB free in /dev/shm")
        return made(prefix, count, length, words)

    monkeypatch.setattr(holdings, "shared", shared)
    formed = formation(listeners[:4], (0, 0, 1, 1), (0, 2, 3, 5, 6), tmp_path)
    results = together(
        [
            lambda m=member, ear=listener: join(formed, m.worker, ear, LAYOUT)
            for member, listener in zip(formed.members, listeners, strict=False)
        ]
    )
    assert [type(result) for result in results] == [NoRoom] * 4
    assert {str(result) for result in results} == {"needs 34 MB, 8 of 64 MB free in /dev/shm"}


def test_who_does_not_come_is_named_by_all_that_do(
    listeners: list[Listener], tmp_path: Path
) -> None:
    formed = formation(listeners[:4], (0, 0, 1, 1), (0, 2, 3, 5, 6), tmp_path, patience=0.5)
    results = together(
        [
            lambda m=member, ear=listener: join(formed, m.worker, ear, LAYOUT)
            for member, listener in list(zip(formed.members, listeners, strict=False))[:3]
        ]
    )
    for result in results:
        assert isinstance(result, Broken)
        assert (result.culprit, result.why) == (3, Why.FROZEN)


def test_who_is_dead_before_it_comes_is_named_at_once(
    listeners: list[Listener], tmp_path: Path
) -> None:
    formed = formation(listeners[:4], (0, 0, 1, 1), (0, 2, 3, 5, 6), tmp_path, patience=30.0)
    listeners[2].close()
    results = together(
        [
            lambda m=member, ear=listener: join(formed, m.worker, ear, LAYOUT)
            for member, listener in zip(formed.members, listeners, strict=False)
            if member.worker != 2
        ]
    )
    for result in results:
        assert isinstance(result, Broken)
        assert (result.culprit, result.why) == (2, Why.LOST)


def test_who_does_not_know_the_key_does_not_come_in(
    listeners: list[Listener], tmp_path: Path
) -> None:
    formed = formation(listeners[:2], (0, 1), (0, 3, 6), tmp_path, patience=0.5)
    other = Formation(1, formed.members, b"x" * 32, formed.segment, 0.5)
    results = together(
        [
            lambda: join(formed, 0, listeners[0], LAYOUT),
            lambda: join(other, 1, listeners[1], LAYOUT),
        ]
    )
    assert [type(result) for result in results] == [Broken, Broken]


def test_vectors_of_a_state_begin_at_different_places_of_a_page(
    listeners: list[Listener], tmp_path: Path
) -> None:
    ears = listeners[:2]
    exchange = enter(formation(ears, (0, 0), (0, 3, 6), tmp_path), ears, LAYOUT)[1]
    assert len({vector.ctypes.data % 4096 for vector in exchange.state}) == 2
    assert all(vector.ctypes.data % 64 == 0 for vector in exchange.state)
    assert not np.any(exchange.state[0])
