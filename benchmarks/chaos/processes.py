"""The processes of this run: what /proc shows, since we are in a namespace of our own."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_WORKER_WORDS = ("gradloom.worker.process", "ray::Actor")
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Process:
    """A process; its number and the time it started are never those of another."""

    pid: int
    parent: int
    started: int
    state: str
    words: str

    @property
    def is_worker(self) -> bool:
        """Whether it runs shards, or is kept ready to."""
        return any(word in self.words for word in _WORKER_WORDS)


def all_processes() -> tuple[Process, ...]:
    """All but this one, the first one, and what has ended."""
    ours = (1, os.getpid())
    return tuple(each for each in _all() if each.pid not in ours and each.state != "Z")


def is_alive(process: Process) -> bool:
    """Whether it is still there, and not another of its number."""
    now = _read(process.pid)
    return now is not None and now.started == process.started and now.state != "Z"


def send(process: Process, number: int) -> bool:
    """Sends a signal to this process and no other; whether it was there."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def children(pid: int) -> list[int]:
    """Numbers of the processes that a process started and that live."""
    return [each.pid for each in _all() if each.parent == pid and each.state != "Z"]


def process_of(pid: int) -> Process | None:
    """The process of a number."""
    return _read(pid)


def _all() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _read(int(entry.name))):
            yield process


def _read(pid: int) -> Process | None:
    try:
        head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        words = (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode("utf-8", "replace")
        )
    except (OSError, ValueError):
        return None
    fields = rest.split()
    name = words.strip() or head.partition("(")[2]
    return Process(pid, int(fields[1]), int(fields[19]), fields[0], name[:_SHOWN])
