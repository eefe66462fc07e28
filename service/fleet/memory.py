"""What the kernel says of a process's memory: how much it may have, and who was ended for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of one memory cgroup: where kills are counted, and its limit."""

    kills: Path
    limit: Path


def kills(pid: int, root: Path = Path("/")) -> Mapping[Path, int]:
    """How often the kernel ended a process for its memory, by the files of pid's cgroups.

    Where none can be read, the count for the whole machine stands for them.
    """
    counts = {files.kills: _counted(files.kills) for files in _cgroups(pid, root)}
    found = {path: count for path, count in counts.items() if count is not None}
    machine = root / "proc/vmstat"
    return found or {machine: _counted(machine) or 0}


def has_risen(before: Mapping[Path, int]) -> bool:
    """Whether one of the counts is higher by now."""
    return any((_counted(path) or 0) > count for path, count in before.items())


def allowed_bytes(pid: int, root: Path = Path("/")) -> int:
    """The least of the limits of a process's cgroups and the machine's memory; 0 if unknown."""
    limits = [
        _limit(folder / files.limit.name)
        for files in _cgroups(pid, root)
        for folder in files.limit.parents
        if folder.is_relative_to(root / _MOUNTS.relative_to("/"))
    ]
    return min((limit for limit in (*limits, _machine_bytes(root)) if limit), default=0)


def _cgroups(pid: int, root: Path) -> Iterator[_Files]:
    """The memory cgroups of a process, of either version of the kernel's interface."""
    mounts = root / _MOUNTS.relative_to("/")
    for line in _lines(root / f"proc/{pid}/cgroup"):
        _, controllers, path = line.split(":", 2)
        below = path.strip("/")
        if "memory" in controllers.split(","):
            folder = mounts / "memory" / below
            yield _Files(folder / "memory.oom_control", folder / "memory.limit_in_bytes")
        elif not controllers:
            folder = mounts / below
            yield _Files(folder / "memory.events", folder / "memory.max")


def _counted(path: Path) -> int | None:
    for line in _lines(path):
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None


def _limit(path: Path) -> int:
    for line in _lines(path):
        return int(line) if line.isdecimal() else 0
    return 0


def _machine_bytes(root: Path) -> int:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
