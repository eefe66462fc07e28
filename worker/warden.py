"""An actor on each node that ends workers there, and reads their logs, for a service elsewhere."""

import os
from pathlib import Path

import ray

from gradloom.worker.fence import StillAlive, fence

_LOG_END = 1 << 14
# A message of Ray's ends a worker within milliseconds, unless it is frozen.
PATIENCE_SECONDS = 0.3


@ray.remote(num_cpus=0)
class Warden:
    """Stands beside the workers of a node: what was frozen there does not end by a message."""

    def end(self, pid: int) -> bool:
        """Kills a process and waits for its end; whether it has ended."""
        try:
            fence((pid,), patience=PATIENCE_SECONDS)
        except (StillAlive, PermissionError):
            return False
        return True

    def tail(self, log: str) -> str:
        """The end of a worker's log; empty where it cannot be read."""
        return end_of(Path(log))


def end_of(log: Path) -> str:
    """The last kilobytes of a file; empty where it cannot be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LOG_END, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
