"""Worker processes on this machine, without Ray: one socket each, one core each."""

import os
import pickle
import signal
import subprocess
from multiprocessing.connection import Connection, wait
from pathlib import Path

from gradloom.service.fleet.group import Gone, WorkerEvent, event_of
from gradloom.service.fleet.worker_process import Spares, WorkerProcess, spawn
from gradloom.service.jobs.states import Reason
from gradloom.worker.messages import BadAnswer, Order, Task, decode

_LAST_WORDS_SECONDS = 1.0


class LocalGroup:
    """Workers of one job as child processes, started with an arithmetic profile."""

    def __init__(self, log_folder: Path, profile: str, spares: Spares | None = None) -> None:
        self._log_folder = log_folder
        self._profile = profile
        self._spares = spares
        self._workers: dict[int, WorkerProcess] = {}
        self._lost: list[Gone] = []
        log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """Takes a spare process or spawns one; see WorkerGroup."""
        log = self._log_folder / f"worker-{worker}.log"
        spare = self._spares.take(log, self._profile) if self._spares else None
        self._workers[worker] = spare or spawn(log, self._profile)
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
        self._workers.pop(worker).end()

    def close(self) -> None:
        """Kills all workers, and has spare ones started for those that were used."""
        for worker in list(self._workers):
            self._reap(worker)
        if self._spares:
            self._spares.refill()


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

    def __init__(self, cpus: int | None = None, spares: Spares | None = None) -> None:
        self.cpus = cpus or len(os.sched_getaffinity(0))
        self._spares = spares

    def group(
        self,
        name: str,  # noqa: ARG002
        workers: int,  # noqa: ARG002
        log_folder: Path,
        profile: str,
    ) -> LocalGroup:
        """Workers of one job; a process needs no room kept for it."""
        return LocalGroup(log_folder, profile, self._spares)

    def close(self) -> None:
        """Ends the spare processes."""
        if self._spares:
            self._spares.close()
