"""A process that holds namespaces of its own; when it or its owner ends, all in them ends.

Namespaces have no names, so nothing has to be swept after a crash: the keeper's first process
reads from its owner and ends with it, the kernel kills what else has been started in its process
namespace, and then takes down its mounts, its network and the other ends of its links.
"""

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.hosts.tools import SECONDS, CannotUse

_UNSHARE = ("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--mount-proc")
_FORK = ("--fork", "--kill-child", "sh", "-c")
# Children that were left by their parents are reaped by the kernel where nobody waits for them.
_STAY = "echo ready; exec env --ignore-signal=CHLD cat >/dev/null"


class Keeper:
    """Namespaces for network, mounts, names, processes and their messages; needs root."""

    def __init__(self, setup: Sequence[str]) -> None:
        """Runs lines of shell in the new namespaces. Raises CannotUse where that is refused."""
        self._process = subprocess.Popen(
            [*_UNSHARE, *_FORK, "\n".join(["set -e", *setup, _STAY])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._await_ready()

    def _await_ready(self) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None
        select.select([self._process.stdout], [], [], SECONDS)
        if not select.select([self._process.stdout], [], [], 0)[0]:
            self.end()
            raise CannotUse("unshare", f"no namespaces within {SECONDS:.0f} s")
        if self._process.stdout.readline() != b"ready\n":
            why = self._process.stderr.read().decode().strip()
            self.end()
            raise CannotUse("unshare", why or "no namespaces, and no reason given")

    @property
    def pid(self) -> int:
        """A process in all the namespaces but that of processes, for `ip link … netns`."""
        return self._process.pid

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs a command in the namespaces, in this process's folder."""
        processes = f"--pid=/proc/{self.pid}/ns/pid_for_children"
        enter = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--ipc"]
        return [*enter, processes, "--", "env", f"--chdir={Path.cwd()}", *command]

    def in_network(self, command: Sequence[str]) -> list[str]:
        """The command that runs a command in the network alone; processes have our numbers."""
        return ["nsenter", "--target", str(self.pid), "--net", "--", *command]

    def start(
        self, command: Sequence[str], env: Mapping[str, str], output: int | None = None
    ) -> "Inside":
        """Starts a command in the namespaces; its errors go where this process's do."""
        return Inside(
            subprocess.Popen(self.inside(command), env=dict(env), stdout=output, text=True)
        )

    def processes(self) -> dict[int, int]:
        """Numbers of the processes inside, by the numbers they have inside."""
        namespace = _link(Path(f"/proc/{self.pid}/ns/pid_for_children"))
        outside = [pid for pid in _pids() if _link(Path(f"/proc/{pid}/ns/pid")) == namespace]
        return {number: pid for pid in outside if (number := _innermost(pid))}

    def end(self) -> None:
        """Kills everything inside at once, as a loss of power does; returns when all is gone."""
        for first in _children(self.pid):
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS)  # for the first process, which the kernel ends last
        self._process.kill()
        self._process.wait(SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


class Inside:
    """A process that was started inside; `entrance` is its parent on this side."""

    def __init__(self, entrance: "subprocess.Popen[str]") -> None:
        self.entrance = entrance

    def send(self, number: int) -> None:
        """Sends a signal to the process inside; one that has ended gets none."""
        for pid in _children(self.entrance.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises TimeoutExpired."""
        return self.entrance.wait(seconds)

    def close(self) -> None:
        """Lets go of its output."""
        if self.entrance.stdout is not None:
            self.entrance.stdout.close()


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _children(parent: int) -> list[int]:
    return [pid for pid in _pids() if _status(pid).get("PPid") == str(parent)]


def _innermost(pid: int) -> int:
    """The number of a process in its own namespace; 0 for one that has ended."""
    return int(_status(pid).get("NSpid", "0").split()[-1])


def _status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status; none for one that has ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return {}


def _link(path: Path) -> str:
    with suppress(OSError):
        return str(path.readlink())
    return ""
