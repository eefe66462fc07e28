"""How a process ends of which a thread is still in Ray's hands, and could be waited for no longer.

Ray ends a process with exit code 1, without a word, as soon as a thread calls it after it was
left; and it is left at the latest when Python ends.
"""

import os
import sys
import threading
from typing import NoReturn

# What threads are called that call Ray: those that carry out jobs, and the fleet's own.
RUNNER = "runner-"
RAY = "ray-"


def left_behind() -> tuple[str, ...]:
    """The names of such threads that have not ended, but for the one that asks."""
    others = (each for each in threading.enumerate() if each is not threading.current_thread())
    return tuple(each.name for each in others if each.name.startswith((RUNNER, RAY)))


def leave(code: int) -> NoReturn:
    """Ends this process with an exit code, whatever threads are left behind."""
    if left_behind():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
