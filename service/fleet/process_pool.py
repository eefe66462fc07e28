"""Worker processes of this machine that wait for jobs, are lent to them, and come back.

A thread of their own starts all of them, since the kernel ends a worker with the thread that did.
"""

import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from gradloom.service.fleet.group import is_beat
from gradloom.service.fleet.worker_process import WorkerProcess, spawn
from gradloom.worker.messages import BadAnswer, decode
from gradloom.worker.rest import Rest

WORKER = "gradloom.worker.process"

# One that came back and is more than was asked for ends when nobody has wanted it for so long.
_IDLE_SECONDS = 180.0
# A job that holds the warm ones for longer than this has others take their places.
_REFILL_SECONDS = 30.0
# So long a job waits for one that is just coming back, rather than for the start of another.
_PATIENCE_SECONDS = 2.0
_REST_SECONDS = 5.0
_START_SECONDS = 10.0
# One that takes up more is not lent again.
_MOST_BYTES = 1 << 30


@dataclass(slots=True)
class _Resting:
    """A process that was told to forget its job, and until when it has to.

    It answers what it was asked before as well: owes are all the answers that are to come.
    """

    worker: WorkerProcess
    deadline: float
    owes: int


@dataclass(frozen=True, slots=True)
class _Idle:
    worker: WorkerProcess
    since: float


class _Wanted:
    """A process that a job waits for."""

    def __init__(self, log: Path, profile: str) -> None:
        self.log = log
        self.profile = profile
        self.is_over = threading.Event()
        self.worker: WorkerProcess | None = None
        self.error: OSError | None = None

    def make(self, module: str) -> None:
        """Starts it, in the thread that calls."""
        try:
            self.worker = spawn(self.log, self.profile, module)
        except OSError as error:
            self.error = error
        self.is_over.set()


class ProcessPool:
    """Keeps count idle processes of a profile; those of others are started when they are wanted.

    Processes that come back are kept beside them, up to most altogether, for some minutes.
    """

    def __init__(
        self,
        count: int,
        folder: Path,
        profile: str,
        *,
        most: int = 0,
        clock: Callable[[], float] = time.monotonic,
        module: str = WORKER,
    ) -> None:
        self._count = count
        self._most = max(count, most if count else 0)
        self._folder = folder
        self._profile = profile
        self._clock = clock
        self._module = module
        self._changed = threading.Condition()
        self._idle: deque[_Idle] = deque()
        self._resting: list[_Resting] = []
        self._wanted: deque[_Wanted] = deque()
        self._refill_time = 0.0
        self._losses = 0
        self._started = 0
        self._is_closing = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._keep, name="worker processes", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> tuple[int, ...]:
        """The numbers of the processes that wait."""
        with self._changed:
            return tuple(each.worker.pid for each in self._idle)

    def take(self, log: Path, profile: str) -> WorkerProcess:
        """A process whose output goes to a file from now on. Raises OSError where none starts."""
        worker = self._one_that_waits(log) if profile == self._profile else None
        return worker or self._new(log, profile)

    def _one_that_waits(self, log: Path) -> WorkerProcess | None:
        with self._changed:
            self._changed.wait_for(lambda: self._idle or not self._resting, _PATIENCE_SECONDS)
            self._refill_time = self._clock() + _REFILL_SECONDS
            while self._idle:
                worker = self._idle.popleft().worker
                with suppress(OSError):  # its folder may be gone, or on another disk
                    if not worker.has_ended:
                        worker.log, worker.is_warm = worker.log.replace(log), True
                        return worker
                worker.end()
        return None

    def _new(self, log: Path, profile: str) -> WorkerProcess:
        wanted = _Wanted(log, profile)
        with self._changed:
            self._wanted.append(wanted)
        self._ring()
        wanted.is_over.wait(_START_SECONDS)
        if wanted.worker is None:
            raise wanted.error or TimeoutError(f"no process was started in {_START_SECONDS} s")
        return wanted.worker

    def give_back(self, worker: WorkerProcess, profile: str, owes: int) -> None:
        """Takes a process back that still owes some answers; it is told to forget its job.

        None is started in its place: refill does that, once all of a job's have come back.
        """
        if profile == self._profile and self._most and self._told_to_rest(worker):
            with self._changed:
                self._resting.append(_Resting(worker, self._clock() + _REST_SECONDS, owes + 1))
        else:
            worker.end()
        self._ring()

    def _told_to_rest(self, worker: WorkerProcess) -> bool:
        log = self._next_log()
        try:
            worker.channel.send(pickle.dumps(Rest(str(log))))
        except OSError:
            return False
        worker.log = log
        return True

    def refill(self) -> None:
        """Has as many processes started as are missing."""
        with self._changed:
            self._refill_time = self._clock()
        self._ring()

    def close(self) -> None:
        """Ends those that nobody took, and those that somebody did with them."""
        self._is_closing = True
        self._ring()
        self._thread.join()
        for worker in [*(i.worker for i in self._idle), *(r.worker for r in self._resting)]:
            worker.end()
        self._idle.clear()
        self._resting.clear()
        os.close(self._bell)

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    def _keep(self) -> None:
        """Lives until close whatever happens: the workers it started would die with it."""
        while not self._is_closing:
            self._start_the_wanted()
            try:
                self._fill()
            except OSError:  # too little memory, disk, or files: jobs start their own
                self._back_off()
            self._listen(self._pause())
            self._let_go()

    def _start_the_wanted(self) -> None:
        while self._wanted:
            self._wanted.popleft().make(self._module)

    def _fill(self) -> None:
        while self._is_short() and not self._wanted and not self._is_closing:
            worker = spawn(self._next_log(), self._profile, self._module)
            with self._changed:
                self._idle.append(_Idle(worker, self._clock()))
                self._changed.notify_all()

    def _is_short(self) -> bool:
        with self._changed:
            missing = len(self._idle) + len(self._resting) < self._count
            return missing and self._clock() >= self._refill_time

    def _next_log(self) -> Path:
        with self._changed:
            self._started += 1
            return self._folder / f"warm-{self._started}.log"

    def _pause(self) -> float | None:
        """Until when there is nothing to do by the clock alone."""
        with self._changed:
            times = [each.deadline for each in self._resting]
            if len(self._idle) + len(self._resting) < self._count:
                times.append(self._refill_time)
            if len(self._idle) > self._count:
                times.append(self._idle[-1].since + _IDLE_SECONDS)
        return max(min(times) - self._clock(), 0.0) if times else None

    def _listen(self, timeout: float | None) -> None:
        """Waits for wishes, for those that rest, and for the end of those that wait."""
        resting = {each.worker.channel.fileno(): each for each in self._resting}
        with self._changed:
            idle = {each.worker.descriptor: each for each in self._idle}
        heard = wait([self._bell, *resting, *idle], timeout)
        if self._bell in heard:
            os.eventfd_read(self._bell)
        for number in heard:
            if number in resting:
                self._heard(resting[number])
            elif number in idle:
                self._lost(idle[number])

    def _heard(self, resting: _Resting) -> None:
        """One that rests has answered, or is gone."""
        answers = _answers(resting.worker)
        if answers is not None:
            resting.owes -= len(answers)
            if resting.owes > 0:
                return
        with self._changed:
            self._resting.remove(resting)
        if answers and _is_fit(answers[-1]):
            self._keep_before_others(resting.worker)
        else:
            resting.worker.end()
        with self._changed:
            self._changed.notify_all()

    def _keep_before_others(self, worker: WorkerProcess) -> None:
        """It has its kernels loaded: where there are too many, the last in line goes for it."""
        with self._changed:
            self._losses = 0
            self._idle.appendleft(_Idle(worker, self._clock()))
            last = self._idle.pop() if len(self._idle) > self._most else None
        if last:
            last.worker.end()

    def _lost(self, idle: _Idle) -> None:
        """One that waited has ended; a job may have taken it in this moment and will see it."""
        with self._changed:
            if idle not in self._idle:
                return
            self._idle.remove(idle)
            self._back_off()
        idle.worker.end()

    def _back_off(self) -> None:
        """What cannot be started, or ends at once, is tried again later, and ever more so."""
        with self._changed:
            self._losses += 1
            pause = min(0.5 * 2.0**self._losses, _REFILL_SECONDS)
            self._refill_time = self._clock() + pause

    def _let_go(self) -> None:
        """Ends what has not come to rest in time, and what nobody has wanted for minutes."""
        now = self._clock()
        with self._changed:
            late = [each for each in self._resting if each.deadline <= now]
            self._resting = [each for each in self._resting if each.deadline > now]
            while len(self._idle) > self._count and self._idle[-1].since + _IDLE_SECONDS <= now:
                late.append(_Resting(self._idle.pop().worker, now, 0))
        for each in late:
            each.worker.end()


def _answers(worker: WorkerProcess) -> tuple[bytes, ...] | None:
    """Answers that have come whole, which may be none yet; None from one that is gone."""
    try:
        said = worker.channel.receive()
    except (EOFError, OSError):
        return None
    return tuple(each for each in said if not is_beat(each))


def _is_fit(answer: bytes) -> bool:
    """Whether a process says that it forgot its job, and is not too large."""
    try:
        resident = decode(answer).facts.get("resident")
    except BadAnswer:
        return False
    return isinstance(resident, int) and resident <= _MOST_BYTES
