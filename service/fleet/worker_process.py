"""Worker processes of this machine: started in a profile, some before they are needed."""

import os
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from gradloom.worker.engine.profile import environment


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process that waits for its task at the other end of the connection."""

    process: subprocess.Popen[bytes]
    connection: Connection
    log: Path

    def end(self) -> None:
        """Kills it and waits for its end."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def spawn(log: Path, profile: str) -> WorkerProcess:
    """Starts a process that writes its output to a file; it ends with the thread that calls."""
    ours, theirs = socket.socketpair()
    with theirs, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gradloom.worker.process", str(theirs.fileno())],
            env=environment(profile, os.environ),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return WorkerProcess(process, Connection(ours.detach()), log)


class Spares:
    """Processes that are started before a job needs them, so that it need not wait for imports.

    A thread of their own starts them, since the kernel ends a worker with the thread that did.
    """

    def __init__(self, count: int, folder: Path, profile: str) -> None:
        self._count = count
        self._profile = profile
        self._folder = folder
        self._ready: deque[WorkerProcess] = deque()
        self._wishes: SimpleQueue[bool] = SimpleQueue()
        self._started = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread = Thread(target=self._keep, name="spare workers", daemon=True)
        self._thread.start()
        self.refill()

    def take(self, log: Path, profile: str) -> WorkerProcess | None:
        """A process of the profile that lives, its output moved to a file; None without one."""
        while profile == self._profile:
            try:
                spare = self._ready.popleft()
            except IndexError:
                return None
            with suppress(OSError):  # its folder may be gone, or on another disk
                if spare.process.poll() is None:
                    return WorkerProcess(spare.process, spare.connection, spare.log.replace(log))
            spare.end()
        return None

    def refill(self) -> None:
        """Has as many processes started as are missing."""
        self._wishes.put(True)

    def close(self) -> None:
        """Ends those that nobody took, and those that somebody did with them."""
        self._wishes.put(False)
        self._thread.join()
        while self._ready:
            self._ready.popleft().end()

    def _keep(self) -> None:
        """Lives until close whatever happens: the workers it started would die with it."""
        while self._wishes.get():
            with suppress(OSError):  # too little memory, disk, or files: jobs start their own
                self._fill()

    def _fill(self) -> None:
        while len(self._ready) < self._count and self._wishes.empty():
            self._started += 1
            log = self._folder / f"spare-{self._started}.log"
            self._ready.append(spawn(log, self._profile))
