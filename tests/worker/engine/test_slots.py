import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gradloom.worker.engine.slots import Lifetime, Name, empty, share, view


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Lifetime]:
    spans = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8), st.integers(0, 99))))
    return [
        Lifetime(Name("output", number), row_bytes, born, born + length)
        for number, (born, length, row_bytes) in enumerate(spans)
    ]


@given(lifetimes())
@settings(derandomize=True, max_examples=200, deadline=None)
def test_arrays_that_live_at_the_same_time_never_share_memory(lives: list[Lifetime]) -> None:
    slots = share(lives).slots
    for number, one in enumerate(lives):
        for other in lives[:number]:
            overlap = one.born <= other.dies and other.born <= one.dies
            assert not (overlap and slots[one.name] == slots[other.name])


@given(lifetimes())
@settings(derandomize=True, max_examples=50, deadline=None)
def test_every_slot_is_large_enough(lives: list[Lifetime]) -> None:
    layout = share(lives)
    assert all(life.row_bytes <= layout.row_bytes[layout.slots[life.name]] for life in lives)


def test_memory_begins_at_a_cache_line() -> None:
    assert all(empty(rows, 4).ctypes.data % 64 == 0 for rows in range(1, 20))


def test_a_view_of_fewer_rows_is_the_beginning_of_the_memory() -> None:
    memory = empty(5, 24)
    view(memory, 5, (3, 2), np.float32)[...] = np.arange(30).reshape(5, 3, 2)
    fewer = view(memory, 2, (3, 2), np.float32)
    np.testing.assert_array_equal(fewer.reshape(-1), np.arange(12))
