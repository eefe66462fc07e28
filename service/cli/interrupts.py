"""Ctrl-C: the first one ends things in order, the second one at once.

An exception that a signal raises inside gRPC leaves locks behind which nobody unlocks, and the
process hangs. So calls that may be interrupted run in a thread of their own, and the main thread
waits where it may be interrupted: in a SimpleQueue.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import NoReturn, TypeVar

from gradloom.service.cli.exits import Exit

T = TypeVar("T")

# Who ends a process and its group sends two signals that mean one.
SAME_SIGNAL_SECONDS = 1.0

_SHOW_CURSOR = "\x1b[?25h"


def interrupt_on_terminate() -> None:
    """Makes SIGTERM what Ctrl-C is."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def leave_on_next(clock: Callable[[], float] = time.monotonic) -> None:
    """From now on the next signal that means another one leaves at once."""
    first = clock()

    def leave(_number: int, _frame: FrameType | None) -> None:
        if clock() - first < SAME_SIGNAL_SECONDS:
            return
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
        os._exit(Exit.INTERRUPTED)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


def unbroken(call: Callable[[], T]) -> T:
    """What the call comes to; Ctrl-C raises KeyboardInterrupt here and leaves the call alone."""
    outcome: SimpleQueue[Callable[[], T]] = SimpleQueue()

    def work() -> None:
        try:
            value = call()
        except BaseException as error:
            outcome.put(_raising(error))
        else:
            outcome.put(lambda: value)

    Thread(target=work, daemon=True).start()
    return outcome.get()()


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise error

    return raise_it


@contextmanager
def told_of_interrupts(tell: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call tell, which must be quick, instead of raising anything."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: tell()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
