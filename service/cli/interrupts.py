"""Ctrl-C: the first one ends things in order, the second one at once."""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from gradloom.service.cli.exits import Exit

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
