"""Makes sure that processes of this node have ended before memory they share is written anew.

A process that was stopped goes on where it was when it wakes, in the middle of a store to shared
memory if need be: no number in a message keeps it out, only its death does.
"""

import os
import select
import signal
from collections.abc import Iterable
from contextlib import suppress


class StillAlive(RuntimeError):
    """A process that cannot be made to end."""


def fence(pids: Iterable[int], seconds: float = 5.0, patience: float = 0.0) -> None:
    """Kills these processes and waits for the end of each. Raises StillAlive.

    One that is about to end by itself is given some seconds of patience before it is killed.
    """
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                _end(pid, descriptor, seconds, patience)
            finally:
                os.close(descriptor)


def _end(pid: int, descriptor: int, seconds: float, patience: float) -> None:
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    if patience and ended.poll(patience * 1000):
        return
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    if not ended.poll(seconds * 1000):
        raise StillAlive(f"process {pid} was killed and has not ended after {seconds:.0f} s")
