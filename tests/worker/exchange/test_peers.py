"""What a peer says last is heeded, however it comes."""

from pathlib import Path
from time import monotonic

import pytest

from gradloom.worker.exchange.exchange import Broken, Layout, Why
from gradloom.worker.exchange.listener import Listener
from tests.worker.exchange.formations import enter, formation, together

LAYOUT = Layout(8192, 2, 4)


@pytest.mark.parametrize("cells", [(0, 0, 0), (0, 1, 1), (0, 0, 1)])
def test_a_verdict_is_heeded_though_who_told_it_keeps_its_connections(
    cells: tuple[int, ...], listeners: list[Listener], tmp_path: Path
) -> None:
    ears = listeners[:3]
    formed = formation(ears, cells, (0, 2, 3, 4), tmp_path, patience=30.0)
    first, second, third = enter(formed, ears, LAYOUT)

    def dies() -> tuple[bytes, ...]:
        third._role._peers._is_broken = True  # type: ignore[attr-defined]  # says no farewell
        ears[2].close()
        third.close()
        return ()

    began = monotonic()
    results = together([first.agree, second.agree, dies])
    assert monotonic() - began < 5
    for result in results[:2]:
        assert isinstance(result, Broken)
        assert (result.culprit, result.why) == (2, Why.LOST)


def test_who_takes_leave_is_said_to_have_left(listeners: list[Listener], tmp_path: Path) -> None:
    ears = listeners[:2]
    formed = formation(ears, (0, 0), (0, 2, 4), tmp_path, patience=30.0)
    first, second = enter(formed, ears, LAYOUT)
    second.close()
    (result,) = together([first.agree])
    assert isinstance(result, Broken)
    assert str(result).endswith("has left the formation")


def test_what_was_said_before_a_farewell_counts(listeners: list[Listener], tmp_path: Path) -> None:
    ears = listeners[:2]
    formed = formation(ears, (0, 0), (0, 2, 4), tmp_path, patience=30.0)
    first, second = enter(formed, ears, LAYOUT)

    def agrees_and_leaves() -> tuple[bytes, ...]:
        notes = first.agree(b"a")
        first.close()
        return notes

    results = together([agrees_and_leaves, lambda: second.agree(b"b")])
    assert results == [(b"a", b"b"), (b"a", b"b")]
