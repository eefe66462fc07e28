"""What surrounds a server in every worker, be it a process or an actor: messages as bytes."""

import fcntl
import gc
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gradloom.worker.data.streams import Given
from gradloom.worker.messages import Answer, AnswerKind, Task, encode
from gradloom.worker.residence import resident_bytes
from gradloom.worker.rest import Rest
from gradloom.worker.server import Server, survey_in

MOST_LOG_BYTES = 10_000_000


class Shell:
    """Answers messages that the service pickled; serves one job after the other."""

    def __init__(self, host: str, given: Callable[[Task], Given] = survey_in) -> None:
        """See Server."""
        self._server = Server(host, given)

    def answer(self, message: bytes) -> bytes:
        """The encoded answer to a message; see Server.answer. Logs that are too long are cut."""
        # The service's own bytes, over a connection that only it holds the other end of.
        told = pickle.loads(message)  # noqa: S301
        cut_logs()
        return self._rest(told) if isinstance(told, Rest) else self._server.answer(told)

    def beat(self) -> bytes:
        """That the worker lives; see Server.beat."""
        return self._server.beat()

    def _rest(self, rest: Rest) -> bytes:
        """Lets go of all that the job held, so that the next one finds a worker like new."""
        self._server.leave()
        gc.collect()
        if rest.log:
            write_to(rest.log)
        return encode(Answer(AnswerKind.DONE, facts={"resident": resident_bytes()}))


def write_to(log: str) -> None:
    """Has all output of this process go to another file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for output in (1, 2):
        os.dup2(file, output)
    os.close(file)


def cut_logs(most: int = MOST_LOG_BYTES) -> None:
    """Leaves of what this process has written, where it is more, the end alone: half as much."""
    for output in (1, 2):
        with suppress(OSError):  # the disk may be full
            _cut(output, most)


def _cut(output: int, most: int) -> None:
    """A file that is not appended to is left: what is written next would stand where it did."""
    if os.fstat(output).st_size <= most or not fcntl.fcntl(output, fcntl.F_GETFL) & os.O_APPEND:
        return
    with Path(f"/proc/self/fd/{output}").open("rb") as log:
        log.seek(-(most // 2), os.SEEK_END)
        end = log.read()
    os.ftruncate(output, 0)
    os.write(output, end)
