"""A worker process of this machine: started in a profile, spoken to, ended, and asked how."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

from gradloom.service.fleet.channel import Channel
from gradloom.service.fleet.ending import Ending
from gradloom.service.fleet.memory import allowed_bytes, has_risen, kills
from gradloom.worker.engine.profile import environment

_LAST_WORDS_SECONDS = 1.0
_END_SECONDS = 5.0


@dataclass(slots=True)
class WorkerProcess:
    """A process that answers messages at the other end of the channel, and writes to a log.

    descriptor is the kernel's handle of it: readable once it has ended. is_warm: it was there
    before it was asked for. kills is how often memory ran out before, so that it is known whether
    that was what ended it.
    """

    process: subprocess.Popen[bytes]
    descriptor: int
    channel: Channel
    log: Path
    is_warm: bool = False
    kills: Mapping[Path, int] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return bool(wait([self.descriptor], 0))

    def look_at_memory(self) -> None:
        """Remembers how often memory ran out so far."""
        self.kills = kills(self.pid)

    def end(self) -> bool:
        """Kills it, waits for its end, and lets go of it; whether it has ended within seconds."""
        self.channel.close()
        self._kill()
        has_ended = bool(wait([self.descriptor], _END_SECONDS))
        if has_ended:
            self._reap()
        os.close(self.descriptor)
        return has_ended

    def ending(self) -> Ending:
        """How it ended: it is about to, or is killed. Then it is let go of."""
        allowed = allowed_bytes(self.pid)
        if not wait([self.descriptor], _LAST_WORDS_SECONDS):
            self._kill()
        if not wait([self.descriptor], _END_SECONDS):
            os.close(self.descriptor)
            return Ending(-signal.SIGKILL)
        used = self._reap()
        self.channel.close()
        os.close(self.descriptor)
        code = self.process.returncode
        return Ending(code, code == -signal.SIGKILL and has_risen(self.kills), used, allowed)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)

    def _reap(self) -> int:
        """Takes note of the end; the most memory that it used, in bytes."""
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:
            self.process.poll()
            return 0
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_maxrss * 1024


def spawn(log: Path, profile: str, module: str) -> WorkerProcess:
    """Starts a process that writes its output to a file; it ends with the thread that calls."""
    ours, theirs = socket.socketpair()
    log.write_bytes(b"")
    # Appended to, so that the worker can cut it when it grows long.
    with theirs, log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            env=environment(profile, os.environ),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return WorkerProcess(process, os.pidfd_open(process.pid), Channel(ours), log)
