"""Namespaces of our own: all processes, segments, ports and mounts in them are of this run."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_INSIDE = "GRADLOOM_CHAOS_INSIDE"
_UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
# A shell is the first process: it waits for whatever loses its parent.
_FIRST = ["sh", "-c", '"$@"; exit $?', "sh"]
_AS_ROOT_OF_ITS_OWN = ["--user", "--map-root-user"]


def is_inside() -> bool:
    """Whether this process is the one that was started in namespaces of its own."""
    return os.environ.get(_INSIDE) == "1" and os.getppid() == 1


def command(arguments: Sequence[str]) -> list[str] | None:
    """How to run a program inside; None where the machine does not let us."""
    for way in (_UNSHARE, [*_UNSHARE, *_AS_ROOT_OF_ITS_OWN]):
        trial = [*way, "sh", "-c", "mount -t tmpfs tmpfs /dev/shm && ip link set lo up"]
        if _succeeds(trial):
            return [*way, *_FIRST, *arguments]
    return None


def _succeeds(words: list[str]) -> bool:
    try:
        return subprocess.run(words, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def run_inside(module: str, arguments: Sequence[str]) -> int:
    """Runs a module of ours inside; its exit code, or that of a program that may not run."""
    inside = command([sys.executable, "-m", module, *arguments])
    if inside is None:
        sys.stderr.write("Chaos needs namespaces of its own: unshare, mount and ip as root.\n")
        return 77
    return subprocess.run(inside, env={**os.environ, _INSIDE: "1"}).returncode


def furnish(folder: Path, megabytes: int = 1_024) -> None:
    """Inside: loopback up, an empty /dev/shm, and a scratch folder in memory."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    mount(Path("/dev/shm"), 256)
    mount(folder, megabytes)


def mount(folder: Path, megabytes: int) -> None:
    """A file system in memory of this size over a folder."""
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
