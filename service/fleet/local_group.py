"""Workers as processes on this machine, without Ray: one socket each, one core each."""

import os
import pickle
import platform
import selectors
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gradloom.service.fleet.ending import last_lines, reason_of, sentence_of
from gradloom.service.fleet.group import Alive, Gone, Ready, WorkerEvent, event_of
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.fleet.worker_process import WorkerProcess
from gradloom.service.jobs.states import Reason
from gradloom.worker.messages import Answer, AnswerKind, BadAnswer, Order, Task, decode

# The end of a log, in bytes, within which its last lines are looked for.
_LOG_END = 1 << 14
_NODE = platform.node()
_BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE
# What a part of an answer comes to: nobody beats between its bytes.
_MIDST_OF_AN_ANSWER = Answer(AnswerKind.BEAT)


@dataclass(slots=True)
class _Lent:
    """A process that this group has, how many answers it owes, and whether it has its task."""

    process: WorkerProcess
    owes: int = 0
    is_ready: bool = False


class LocalGroup:
    """Workers of one job as child processes, started with an arithmetic profile."""

    def __init__(self, log_folder: Path, profile: str, pool: ProcessPool) -> None:
        self._log_folder = log_folder
        self._profile = profile
        self._pool = pool
        self._workers: dict[int, _Lent] = {}
        self._lost: list[Gone] = []
        log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """Takes a process of the pool; see WorkerGroup."""
        log = self._log_folder / f"worker-{worker}.log"
        try:
            process = self._pool.take(log, self._profile)
        except OSError as error:
            message = f"worker {worker} on {_NODE} could not be started: {error}"
            self._lost.append(Gone(worker, Reason.WORKER_START_FAILED, message, node=_NODE))
            return
        self._workers[worker] = _Lent(process)
        self._send(worker, (task, state))

    def order(self, worker: int, order: Order) -> None:
        """Sends an order; see WorkerGroup."""
        if worker in self._workers:
            self._send(worker, order)

    def _send(self, worker: int, message: object) -> None:
        lent = self._workers[worker]
        lent.owes += 1
        lent.process.look_at_memory()
        try:
            lent.process.channel.send(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
        except OSError:
            self._lost.append(self._ended(worker))

    def stop(self, worker: int) -> bool:
        """Kills a process and waits for its end; see WorkerGroup."""
        self._lost = [gone for gone in self._lost if gone.worker != worker]
        lent = self._workers.pop(worker, None)
        return lent is None or lent.process.end()

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        """Answers and deaths; see WorkerGroup."""
        deadline = time.monotonic() + timeout
        while not (events := tuple(self._events(max(deadline - time.monotonic(), 0.0)))):
            if time.monotonic() >= deadline:
                break
        return events

    def _events(self, timeout: float) -> Iterator[WorkerEvent]:
        """What there is to tell now, or after a wait for something to happen."""
        if self._lost:
            lost, self._lost = self._lost, []
            yield from lost
            return
        for worker in sorted(self._ready(timeout)):
            yield from self._heard(worker)

    def _ready(self, timeout: float) -> set[int]:
        """Workers that wrote something or have ended; meanwhile what waits to be sent is sent."""
        with selectors.PollSelector() as selector:
            for worker, lent in self._workers.items():
                channel = lent.process.channel
                wants = _BOTH if channel.has_more_to_send else selectors.EVENT_READ
                selector.register(channel.fileno(), wants, worker)
                selector.register(lent.process.descriptor, selectors.EVENT_READ, worker)
            happened = selector.select(timeout)
        for key, events in happened:
            if events & selectors.EVENT_WRITE:
                self._flush(key.data)
        return {key.data for key, events in happened if events & selectors.EVENT_READ}

    def _flush(self, worker: int) -> None:
        with suppress(OSError):  # its end will be read
            self._workers[worker].process.channel.flush()

    def _heard(self, worker: int) -> Iterator[WorkerEvent]:
        lent = self._workers[worker]
        try:
            messages = lent.process.channel.receive()
        except (EOFError, OSError):
            yield self._ended(worker)
            return
        for encoded in messages:
            yield self._event(worker, encoded)
            if worker not in self._workers:
                return
        if messages:
            return
        # A child of it may hold the other end open: then no end of file ever comes.
        if lent.process.has_ended:
            yield self._ended(worker)
        else:
            yield Alive(worker, _MIDST_OF_AN_ANSWER)

    def _event(self, worker: int, encoded: bytes) -> WorkerEvent:
        lent = self._workers[worker]
        try:
            answer = decode(encoded)
        except BadAnswer as error:
            return self._given_up(Gone(worker, Reason.WORKER_ERROR, str(error)))
        lent.owes -= answer.kind is not AnswerKind.BEAT
        lent.is_ready |= answer.kind is AnswerKind.READY
        match event_of(worker, answer, encoded):
            case Gone() as gone:
                return self._given_up(gone)
            case Ready() as ready:
                return replace(ready, warm=lent.process.is_warm)
            case event:
                return event

    def _given_up(self, gone: Gone) -> Gone:
        """The worker ends; what is told of it has the end of its log."""
        lent = self._workers.pop(gone.worker)
        lent.process.end()
        return replace(gone, log=last_lines(_end_of(lent.process.log)), node=_NODE)

    def _ended(self, worker: int) -> Gone:
        lent = self._workers.pop(worker)
        process, ending = lent.process, lent.process.ending()
        message = sentence_of(worker, _NODE, process.pid, ending)
        log = last_lines(_end_of(process.log))
        if log and not ending.is_for_memory:
            message = f"{message}: {log[-1]}"
        reason = reason_of(ending, was_ready=lent.is_ready)
        return Gone(worker, reason, message, log, _NODE)

    def close(self) -> None:
        """Gives processes that were ready back to the pool, and ends the others."""
        for worker, lent in list(self._workers.items()):
            if lent.is_ready:
                self._pool.give_back(lent.process, self._profile, lent.owes)
                del self._workers[worker]
            else:
                self.stop(worker)
        self._pool.refill()


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LOG_END, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


class LocalFleet:
    """This machine's CPUs, without Ray."""

    may_share = True
    trouble = ""

    def __init__(self, pool: ProcessPool, cpus: int | None = None) -> None:
        self.cpus = cpus or available_cpus()
        self._pool = pool

    @property
    def nodes(self) -> frozenset[str]:
        """This machine."""
        return frozenset({platform.node()})

    def avoid(self, nodes: frozenset[str]) -> None:
        """Nothing: there is no other node."""

    def lacks(self, workers: int) -> str:  # noqa: ARG002
        """Nothing: processes share the CPUs there are."""
        return ""

    def group(
        self,
        name: str,  # noqa: ARG002
        workers: int,  # noqa: ARG002
        log_folder: Path,
        profile: str,
    ) -> LocalGroup:
        """Workers of one job; a process needs no room kept for it."""
        return LocalGroup(log_folder, profile, self._pool)

    def close(self) -> None:
        """Ends the processes that wait."""
        self._pool.close()


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))
