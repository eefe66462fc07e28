"""A worker as an actor of Ray."""

import os
import threading
import time
from pathlib import Path

import ray

from gradloom.worker.beats import SECONDS
from gradloom.worker.data.depot import given_by
from gradloom.worker.data.streams import Given
from gradloom.worker.messages import Task
from gradloom.worker.rehearsal import rehearse
from gradloom.worker.server import request_in, selftest_sha256, survey_in
from gradloom.worker.shell import Shell


def _given(task: Task) -> Given:
    """What of a task's data comes through Ray."""
    if not task.depot:
        return survey_in(task)
    return given_by(task.depot, request_in(task), task.data_sha256, task.survey)


def _address() -> str:
    """The address at which other nodes reach this one."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


# Ray's types do not know this option.
@ray.remote(concurrency_groups={"watch": 1, "beat": 1})  # type: ignore[call-overload]
class Actor:
    """A worker on a Ray node; its environment has the pinned profile before NumPy is loaded."""

    def __init__(self, host: str | None) -> None:
        """host is where the other workers reach it: by default, its node's address."""
        self._shell = Shell(host or _address(), _given)

    def answer(self, message: bytes) -> bytes:
        """The answer to a message that the service pickled; see Server.answer."""
        return self._shell.answer(message)

    @ray.method(concurrency_group="beat")
    def beat(self) -> bytes:
        """That it lives, a moment from now; asked again and again while it owes an answer."""
        time.sleep(SECONDS)
        return self._shell.beat()

    def warm(self) -> tuple[str, str, int, str]:
        """Loads kernels while nobody waits; see place."""
        selftest_sha256()
        rehearse(lambda: False)
        return self.place()

    def place(self) -> tuple[str, str, int, str]:
        """Where it is: id of the node, its address, process id, and the file of its errors."""
        node = ray.get_runtime_context().get_node_id()
        return node, _address(), os.getpid(), str(Path("/proc/self/fd/2").readlink())

    @ray.method(concurrency_group="watch")
    def watch(self) -> None:
        """Never returns: who waits for it hears at once that the actor is gone."""
        threading.Event().wait()
