"""Worker processes on this machine, without Ray: one socket each, one core each."""

import os
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from gradloom.service.fleet.group import Gone, WorkerEvent, event_of
from gradloom.service.jobs.states import Reason
from gradloom.worker.engine.profile import environment
from gradloom.worker.messages import BadAnswer, Order, Task, decode

_LAST_WORDS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    log: Path


class LocalGroup:
    """Workers of one job as child processes, started with an arithmetic profile."""

    def __init__(self, log_folder: Path, profile: str) -> None:
        self._log_folder = log_folder
        self._profile = profile
        self._workers: dict[int, _Worker] = {}
        self._lost: list[Gone] = []
        log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """Spawns a process; see WorkerGroup."""
        ours, theirs = socket.socketpair()
        log = self._log_folder / f"worker-{worker}.log"
        with theirs, log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gradloom.worker.process", str(theirs.fileno())],
                env=environment(self._profile, os.environ),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._workers[worker] = _Worker(process, Connection(ours.detach()), log)
        self._send(worker, (task, state))

    def order(self, worker: int, order: Order) -> None:
        """Sends an order; see WorkerGroup."""
        if worker in self._workers:
            self._send(worker, order)

    def _send(self, worker: int, message: object) -> None:
        try:
            self._workers[worker].connection.send_bytes(
                pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
            )
        except OSError:
            self._lost.append(self._gone(worker))

    def stop(self, worker: int) -> None:
        """Kills a worker and waits for its end."""
        if worker in self._workers:
            self._reap(worker)

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        """Answers and deaths; see WorkerGroup."""
        if self._lost:
            lost, self._lost = tuple(self._lost), []
            return lost
        by_connection = {w.connection: number for number, w in self._workers.items()}
        ready = wait(list(by_connection), timeout)
        numbers = sorted(by_connection[c] for c in ready if isinstance(c, Connection))
        return tuple(self._event(number) for number in numbers)

    def _event(self, worker: int) -> WorkerEvent:
        try:
            encoded = self._workers[worker].connection.recv_bytes()
            return event_of(worker, decode(encoded), encoded)
        except (EOFError, OSError):
            return self._gone(worker)
        except BadAnswer as error:
            self._reap(worker)
            return Gone(worker, Reason.WORKER_ERROR, str(error))

    def _gone(self, worker: int) -> Gone:
        process, log = self._workers[worker].process, self._workers[worker].log
        how = _ending(self._ended(process))
        self._reap(worker)
        last = _last_line(log)
        message = f"worker {worker} (pid {process.pid}) {how}"
        return Gone(worker, Reason.WORKER_LOST, f"{message}: {last}" if last else message)

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code of a process whose socket is closed, so that it is about to end."""
        try:
            return process.wait(timeout=_LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _reap(self, worker: int) -> None:
        gone = self._workers.pop(worker)
        gone.connection.close()
        gone.process.kill()
        gone.process.wait()

    def close(self) -> None:
        """Kills all workers."""
        for worker in list(self._workers):
            self._reap(worker)


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


class LocalFleet:
    """This machine's CPUs, without Ray."""

    may_share = True

    def __init__(self, cpus: int | None = None) -> None:
        self.cpus = cpus or len(os.sched_getaffinity(0))

    def group(
        self,
        name: str,  # noqa: ARG002
        workers: int,  # noqa: ARG002
        log_folder: Path,
        profile: str,
    ) -> LocalGroup:
        """Workers of one job; a process needs no room kept for it."""
        return LocalGroup(log_folder, profile)

    def close(self) -> None:
        """Holds nothing."""
