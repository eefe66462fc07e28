"""Does the faults: to worker processes, to the service, to its disk and to its files."""

import heapq
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import TypeVar

from benchmarks.chaos.cases import SHARDS
from benchmarks.chaos.generator import AT_REST, HARMLESS, Fault, Kind
from benchmarks.chaos.history import History
from benchmarks.chaos.processes import Process, all_processes, is_alive, process_of, send
from benchmarks.chaos.site import Site
from gradloom.service.client import Client
from gradloom.service.errors import GradloomError
from gradloom.service.jobs.job import Assignment, Job
from gradloom.service.jobs.states import State

# Workers of a service that was killed have to be gone after so long.
ORPHAN_SECONDS = 10.0
_LONGEST_FREEZE = 8.0
_LONGEST_OUTAGE = 1.5
_NEWEST_JOBS = 50
_REGARDLESS = 0.1
_TRAINING = {State.STARTING, State.RUNNING, State.RECOVERING}
_DOWN = {*AT_REST, Kind.KILL_SERVICE, Kind.STOP_SERVICE}
_BALLAST = "ballast"


Candidate = TypeVar("Candidate")

# Has something happen so many seconds later.
After = Callable[[float, Callable[[], None]], None]
# A fault of a backend's own; says what was done, or nothing where nothing could be.
Strike = Callable[[Fault, After], str]


@dataclass(frozen=True, slots=True)
class Means:
    """What a backend adds: faults of its own, and the number its workers' processes have here."""

    strikes: Mapping[Kind, Strike] = field(default_factory=dict)
    process_id: Callable[[Assignment], int] = lambda assignment: assignment.pid


class Sparing:
    """Which jobs may be struck: three deaths at one step are what a job that kills workers does.

    Such a job is given up, and rightly; so one is left alone until it has made a step.
    """

    def __init__(self) -> None:
        self._struck: dict[str, int] = {}

    def may_strike(self, job: str, step: int) -> bool:
        """Whether a job that is at this step has moved since it was struck."""
        return step != self._struck.get(job)

    def struck(self, job: str, step: int) -> None:
        """Its workers were, at this step."""
        self._struck[job] = step


def _at(job: Job) -> tuple[str, int]:
    return job.name, job.progress.step if job.progress else 0


class Nemesis:
    """Carries out faults on one site, and what has to follow them later."""

    def __init__(
        self,
        site: Site,
        history: History,
        client: Client,
        has_progressed: Callable[[float], bool],
        means: Means,
    ) -> None:
        """has_progressed says whether all jobs went on after a time of the monotonic clock."""
        self._site = site
        self._has_progressed = has_progressed
        self._means = means
        self._history = history
        self._client = client
        self._sparing = Sparing()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.done: Counter[Kind] = Counter()
        self.leaks: list[str] = []

    @property
    def faults(self) -> int:
        """Faults that met somebody."""
        return sum(number for kind, number in self.done.items() if kind not in HARMLESS)

    def strike(self, faults: Sequence[Fault]) -> None:
        """Does faults at once; those that need the service down come last, in one outage."""
        for fault in faults:
            if fault.kind in self._means.strikes:
                self._do(fault, _act_of(self._means.strikes[fault.kind]))
            elif fault.kind not in _DOWN:
                self._do(fault, _LIVE[fault.kind])
        down = [fault for fault in faults if fault.kind in _DOWN]
        if down and self._may_go_down(down[0]):
            self._outage(down)

    def tend(self) -> None:
        """Does what has become due: frozen processes wake, disks have room again."""
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()

    def finish(self) -> None:
        """Does all that is left to do, now or when it is due."""
        while self._later:
            time.sleep(max(0.0, min(0.2, self._later[0][0] - time.monotonic())))
            self.tend()

    def _do(self, fault: Fault, act: "Act") -> None:
        try:
            what = act(self, fault)
        except GradloomError as error:
            what = ""
            self._history.note("fault missed", kind=fault.kind, why=str(error))
        if what:
            self.done[fault.kind] += 1
            self._history.note("fault", kind=fault.kind, to=what)

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Has something happen later, when it is due."""
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), act))

    # --- workers

    def _jobs(self) -> list[Job]:
        """Jobs that are being trained now."""
        newest = islice(self._client.list(), _NEWEST_JOBS)
        return [job for job in newest if job.state in _TRAINING]

    def _workers(self, job: Job) -> list[Process]:
        """Its workers that are alive."""
        found = (process_of(self._means.process_id(each)) for each in job.assignments)
        return [each for each in found if each and each.is_worker]

    def _victim(self, fault: Fault) -> tuple[Job, Process] | None:
        """A worker that may be struck, and its job; None where there is none."""
        jobs = [job for job in self._jobs() if self._sparing.may_strike(*_at(job))]
        workers = [(job, process) for job in jobs for process in self._workers(job)]
        return chosen(workers, fault.pick)

    def _signal(self, job: Job, workers: Iterable[Process], number: int) -> str:
        """Sends a signal to workers of a job; says whom it met."""
        met = [str(each) for each in workers if send(each, number)]
        if not met:
            return ""
        self._sparing.struck(*_at(job))
        return f"{job.name} {', '.join(met)}"

    def _kill_worker(self, fault: Fault) -> str:
        victim = self._victim(fault)
        return self._signal(victim[0], victim[1:], signal.SIGKILL) if victim else ""

    def _kill_all_workers(self, fault: Fault) -> str:
        victim = self._victim(fault)
        return self._signal(victim[0], self._workers(victim[0]), signal.SIGKILL) if victim else ""

    def _freeze_worker(self, fault: Fault) -> str:
        victim = self._victim(fault)
        if victim is None:
            return ""
        job, process = victim
        met = self._signal(job, [process], signal.SIGSTOP)
        if not met:
            return ""
        seconds = 0.1 + _LONGEST_FREEZE * fault.size**2
        self.after(seconds, lambda: self._wake(process))
        return f"{met} for {seconds:.1f} s"

    def _wake(self, process: Process) -> None:
        self._history.note("woken", pid=process.pid, lives=send(process, signal.SIGCONT))

    def _resize(self, fault: Fault) -> str:
        job = chosen(self._jobs(), fault.pick)
        if job is None:
            return ""
        workers = 1 + int(fault.size * SHARDS)
        self._client.update(job, workers=workers)
        return f"{job.name} to {workers}"

    # --- the disk

    def _fill_disk(self, fault: Fault) -> str:
        ballast = self._site.jobs / _BALLAST
        free = shutil.disk_usage(self._site.jobs).free
        if ballast.exists() or not free:
            return ""
        with ballast.open("wb") as file:
            # A job may have written meanwhile: then the last page or two stay free.
            for size in (free, free - (1 << 16), free - (1 << 20)):
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, size)
                    break
        seconds = 1.2 + 2.5 * fault.size
        self.after(seconds, lambda: self._free_disk(ballast))
        return f"{free} bytes for {seconds:.1f} s"

    def _free_disk(self, ballast: Path) -> None:
        ballast.unlink(missing_ok=True)
        self._history.note("disk free")

    # --- the service

    def _may_go_down(self, fault: Fault) -> bool:
        """Whether jobs went on since it came up, so that they get somewhere on a busy machine.

        Now and then it goes down regardless, in the middle of their coming back.
        """
        since = self._site.up_since
        return fault.size < _REGARDLESS or self._has_progressed(since)

    def _outage(self, faults: Sequence[Fault]) -> None:
        jobs = self._names_of_training_jobs()
        workers = [each for each in all_processes() if each.is_worker]
        if any(fault.kind is Kind.STOP_SERVICE for fault in faults):
            code = self._site.terminate()
            if code != 0:
                self.leaks.append(f"the service did not end on SIGTERM by itself: {code}")
        else:
            self._site.kill()
        self._history.note("service down")
        self.after(ORPHAN_SECONDS, lambda: self._look_for_orphans(workers))
        for fault in faults:
            self._do(fault, lambda _, fault: self._at_rest(fault, jobs))
        time.sleep(_LONGEST_OUTAGE * faults[0].size)
        self._site.start()
        self._history.note("service up", pid=self._site.pid)

    def _names_of_training_jobs(self) -> list[str]:
        try:
            return [job.id for job in self._jobs()]
        except GradloomError:
            return []

    def _at_rest(self, fault: Fault, jobs: Sequence[str]) -> str:
        if fault.kind not in AT_REST:
            return "down"
        folders = [self._site.jobs / job / "checkpoints" for job in jobs]
        files = {folder: sorted(folder.glob("*.safetensors")) for folder in folders}
        folder = chosen([folder for folder in folders if files[folder]], fault.pick)
        return _DAMAGES[fault.kind](files[folder], fault.size) if folder else ""

    def _look_for_orphans(self, workers: Iterable[Process]) -> None:
        for process in workers:
            if is_alive(process):
                self.leaks.append(f"worker outlived its service by {ORPHAN_SECONDS} s: {process}")


Act = Callable[[Nemesis, Fault], str]

_LIVE: Mapping[Kind, Act] = {
    Kind.KILL_WORKER: Nemesis._kill_worker,
    Kind.KILL_ALL_WORKERS: Nemesis._kill_all_workers,
    Kind.FREEZE_WORKER: Nemesis._freeze_worker,
    Kind.RESIZE: Nemesis._resize,
    Kind.FILL_DISK: Nemesis._fill_disk,
}


def _act_of(strike: Strike) -> Act:
    return lambda nemesis, fault: strike(fault, nemesis.after)


def chosen(candidates: Sequence[Candidate], pick: float) -> Candidate | None:
    """The candidate at this share of the way; None where there is none."""
    return candidates[int(pick * len(candidates))] if candidates else None


def _flip(files: Sequence[Path], size: float) -> str:
    return flipped(files[-1], size)


def _tear(files: Sequence[Path], size: float) -> str:
    """Cuts the newest file, and leaves a part of a next one."""
    length = int(files[-1].stat().st_size * size)
    os.truncate(files[-1], length)
    with suppress(OSError):  # where the disk has been filled, as much as there is room for
        files[-1].with_name("step-999999999.partial").write_bytes(b"\0" * length)
    return f"{files[-1].name} cut to {length} bytes"


def _flip_all(files: Sequence[Path], size: float) -> str:
    return ", ".join(flipped(path, size) for path in files)


def flipped(path: Path, size: float) -> str:
    """Flips a bit at this share of a file."""
    place = int((path.stat().st_size - 1) * size)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0] ^ 0x10
        file.seek(place)
        file.write(bytes([byte]))
    return f"{path.name} flipped at byte {place}"


_DAMAGES: Mapping[Kind, Callable[[Sequence[Path], float], str]] = {
    Kind.FLIP_CHECKPOINT: _flip,
    Kind.TEAR_CHECKPOINT: _tear,
    Kind.DAMAGE_ALL_CHECKPOINTS: _flip_all,
}
