"""A worker in a process of its own: reads orders from a socket, writes answers.

Run as `python -m gradloom.worker.process FD`. The first message is the task and the state to
begin from, every other one an order, each pickled by the service that started this process; an
end of file means that the service is gone or wants the worker gone.
"""

import ctypes
import signal
import sys
from multiprocessing.connection import Connection

from gradloom.worker.server import selftest_sha256
from gradloom.worker.shell import Shell

_PR_SET_PDEATHSIG = 1
_HOST = "127.0.0.1"


def die_with_parent() -> None:
    """Has the kernel kill this process when the thread that started it ends (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(connection: Connection) -> None:
    """Answers every message until the other end closes."""
    shell = Shell(_HOST)
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(shell.answer(message))


def main() -> None:
    """Serves the socket whose number is the only argument."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    selftest_sha256()  # while nobody waits for it: a spare worker has its kernels loaded
    try:
        serve(Connection(int(sys.argv[1])))
    except ConnectionError:
        sys.exit(0)


if __name__ == "__main__":
    main()
