"""A worker in a process of its own: reads orders from a socket, writes answers.

Run as `python -m gradloom.worker.process FD`. The first message is the task and the state to
begin from, every other one an order, each pickled by the service that started this process; an
end of file means that the service is gone or wants the worker gone.
"""

import ctypes
import select
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from gradloom.worker.beats import Line

_PR_SET_PDEATHSIG = 1
_HOST = "127.0.0.1"


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def is_abandoned(descriptor: int) -> bool:
    """Whether the other end of the socket is closed: whom to die with died before we asked to.

    What it said before does not matter any more.
    """
    watched = select.poll()
    watched.register(descriptor, select.POLLRDHUP)
    return bool(watched.poll(0))


def serve(line: Line, answer: Callable[[bytes], bytes]) -> None:
    """Answers every message until the other end closes."""
    while True:
        try:
            message = line.message()
        except EOFError:
            return
        line.answer(answer(message))


def main() -> None:
    """Serves the socket whose number is the only argument."""
    die_with_parent()
    if is_abandoned(int(sys.argv[1])):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The engine takes seconds to load on a busy machine. Were it loaded sooner, a service that is
    # killed meanwhile would leave this process behind, at work for nobody.
    from gradloom.worker.rehearsal import rehearse
    from gradloom.worker.server import selftest_sha256
    from gradloom.worker.shell import Shell

    connection = Connection(int(sys.argv[1]))
    selftest_sha256()
    rehearse(lambda: connection.poll(0))
    shell = Shell(_HOST)
    try:
        serve(Line(connection, shell.beat), shell.answer)
    except ConnectionError:
        sys.exit(0)


if __name__ == "__main__":
    main()
