"""F52: blocks are read ahead; a read that stalls or fails is told, not waited for for ever."""

import errno
import gc
import threading
from collections.abc import Callable
from time import monotonic

import pytest

from gradloom.worker.data.errors import DataChanged, DataUnreadable
from gradloom.worker.data.read_ahead import Patience, ReadAhead
from gradloom.worker.data.reading import READS, meanwhile

SHORT = Patience(seconds=0.05, tries=3)


class Reads:
    """A source that notes what is read, and can be told to hang."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.read = threading.Condition()

    def __call__(self, number: int) -> str:
        with self.read:
            self.numbers.append(number)
            self.read.notify_all()
        assert self.open.wait(60)
        return f"block {number}"

    def await_reads(self, count: int) -> None:
        with self.read:
            assert self.read.wait_for(lambda: len(self.numbers) >= count, 60)


def test_what_is_wanted_is_read_once_in_order_before_it_is_asked_for() -> None:
    reads = Reads()
    ahead = ReadAhead(reads, "rows.npy")
    ahead.want([4, 2, 9])
    reads.await_reads(3)
    assert [ahead.get(number) for number in (9, 4, 2)] == ["block 9", "block 4", "block 2"]
    assert reads.numbers == [4, 2, 9]


def test_what_is_wanted_no_more_is_let_go_and_what_still_is_stays() -> None:
    reads = Reads()
    ahead = ReadAhead(reads, "rows.npy")
    ahead.want([1, 2])
    assert ahead.get(2)
    ahead.want([2, 3])
    assert (ahead.get(3), ahead.get(2), ahead.get(1)) == ("block 3", "block 2", "block 1")
    assert reads.numbers == [1, 2, 3, 1]


def test_rows_that_come_in_order_are_read_along() -> None:
    reads = Reads()
    ahead = ReadAhead(reads, "rows.npy", lambda number: (number, number + 1))
    for number in range(4):
        assert ahead.get(number) == f"block {number}"
    reads.await_reads(5)
    assert reads.numbers == [0, 1, 2, 3, 4]


def test_a_read_that_stalls_is_tried_anew_and_then_told() -> None:
    reads = Reads()
    reads.open.clear()
    ahead = ReadAhead(reads, '"rows.npy"', patience=SHORT)
    began = monotonic()
    with pytest.raises(DataUnreadable) as caught:
        ahead.get(5)
    assert monotonic() - began < 10
    assert str(caught.value) == (
        'Block 5 of "rows.npy" was not read within 0.05 s, 3 times: see whether its disk or file '
        "server answers."
    )
    assert reads.numbers == [5, 5, 5]
    reads.open.set()


def test_who_waits_for_a_block_says_what_it_reads_and_does_something_else_meanwhile() -> None:
    reads, seen = Reads(), []

    def action() -> None:
        seen.append(READS.newest)
        reads.open.set()

    reads.open.clear()
    with meanwhile(action):
        assert ReadAhead(reads, "rows.npy").get(5) == "block 5"
    assert [read and read.path for read in seen] == ["rows.npy"]
    assert READS.newest is None


def test_what_happens_meanwhile_may_end_the_wait() -> None:
    reads = Reads()
    reads.open.clear()
    with meanwhile(lambda: 1 // 0), pytest.raises(ZeroDivisionError):
        ReadAhead(reads, "rows.npy").get(5)
    reads.open.set()


def test_a_second_try_may_succeed_where_the_first_one_hangs() -> None:
    first = threading.Event()
    calls: list[int] = []

    def load(number: int) -> str:
        calls.append(number)
        if len(calls) == 1:
            assert first.wait(60)
        return "there"

    assert ReadAhead(load, "rows.npy", patience=SHORT).get(5) == "there"
    first.set()


def failing(error: Exception) -> tuple[Callable[[int], str], list[int]]:
    calls: list[int] = []

    def load(number: int) -> str:
        calls.append(number)
        raise error

    return load, calls


def test_an_error_of_the_disk_names_file_and_errno_after_three_tries() -> None:
    load, calls = failing(OSError(errno.EIO, "Input/output error", "rows.npy"))
    with pytest.raises(DataUnreadable, match=r"rows\.npy cannot be read: Input/.* \(errno 5\)"):
        ReadAhead(load, "rows.npy").get(5)
    assert calls == [5, 5, 5]


def test_changed_data_is_told_at_once() -> None:
    load, calls = failing(DataChanged("Block 5 is another one."))
    with pytest.raises(DataChanged, match="Block 5"):
        ReadAhead(load, "rows.npy").get(5)
    assert calls == [5]


def test_a_fault_is_forgotten_when_the_block_is_wanted_again() -> None:
    answers: list[str | OSError] = [OSError(errno.EIO, "broken", "rows.npy")] * 3 + ["sound"]

    def load(_number: int) -> str:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    ahead = ReadAhead(load, "rows.npy")
    with pytest.raises(DataUnreadable):
        ahead.get(5)
    ahead.want([5])
    assert ahead.get(5) == "sound"


def test_its_thread_ends_with_it() -> None:
    ahead = ReadAhead(lambda number: number, "rows.npy")
    before = set(threading.enumerate())
    ahead.get(1)
    (thread,) = set(threading.enumerate()) - before
    del ahead
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
