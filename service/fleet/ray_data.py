"""Whether the data of a job goes to its workers through Ray, and the depot from which it does."""

import threading
import uuid
from dataclasses import replace
from pathlib import Path

from gradloom.worker.data.depot import start_depot
from gradloom.worker.data.files import Roots, size_of
from gradloom.worker.messages import Task

# Where all workers see the service's files, less than this is read again sooner than shared: a
# depot takes a process and a second or two to start.
SHARED_FROM_BYTES = 32 << 20


class RayData:
    """The depot of a fleet, started when the first job needs it.

    On a cluster each does: the files need be nowhere but here. On a Ray of our own those do whose
    data is large.
    """

    def __init__(self, *, is_cluster: bool) -> None:
        self._is_cluster = is_cluster
        self._lock = threading.Lock()
        self._name = ""
        self._depot: object = None
        if is_cluster:
            self._started()

    def told(self, task: Task) -> Task:
        """The task, with the depot's name where its data comes from there."""
        if not self._is_cluster and _data_bytes(task) < SHARED_FROM_BYTES:
            return task
        return replace(task, depot=self._started())

    def _started(self) -> str:
        with self._lock:
            if not self._name:
                name = f"gradloom-depot-{uuid.uuid4().hex[:12]}"
                # It lives as long as its handle is held, and this process's connection to Ray.
                self._depot = start_depot(name)
                self._name = name
            return self._name


def _data_bytes(task: Task) -> int:
    roots = Roots(tuple(map(Path, task.roots)))
    return sum(size_of(roots, path) for path in task.data.paths)
