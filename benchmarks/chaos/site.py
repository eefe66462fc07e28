"""A service in a process of its own that can be ended and started again at the same address."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.chaos import processes
from gradloom.service.client import Client

_READY_SECONDS = 90.0
_STOP_SECONDS = 45.0


class NotReady(Exception):
    """The service does not come up."""


class Site:
    """The folder, the address and the process of a service."""

    def __init__(
        self,
        folder: Path,
        options: Sequence[str],
        variables: Mapping[str, str] | None = None,
        *,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.jobs = self.data / "jobs"
        self.temporary = folder / "tmp"
        self.address = f"{host}:{_free_port()}"
        self._options = options
        self._prefix = prefix
        self._variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.up_since = 0.0
        for made in (self.jobs, self.temporary):
            made.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Starts the service, and returns once it is ready; NotReady names its log."""
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self._variables, "TMPDIR": str(self.temporary)},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        begun = time.monotonic()
        assert self._process.stdout is not None
        deadline = begun + _READY_SECONDS
        os.set_blocking(self._process.stdout.fileno(), False)
        while not self._process.stdout.readline():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotReady(f"exit code {self._process.poll()}: {self.last_words()}")
            time.sleep(0.02)
        self.up_since = time.monotonic()

    def _command(self) -> list[str]:
        host = self.address.rpartition(":")[0]
        serve = [sys.executable, "-m", "gradloom.service.cli", "serve", "--json"]
        where = ["--data-dir", str(self.data), "--listen", self.address, "--http", f"{host}:0"]
        if self._prefix:
            where.append("--i-accept-no-auth")
        return [*self._prefix, *serve, *where, *self._options]

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        text = (self.folder / "service.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Ends it as a power cut would."""
        assert self._process is not None
        self._send(signal.SIGKILL)
        self._ended(_STOP_SECONDS)

    def terminate(self) -> int | None:
        """Asks it to end; its exit code, or None where it has to be killed after all."""
        assert self._process is not None
        self._send(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            return self._ended(_STOP_SECONDS)
        self.kill()
        return None

    def _send(self, number: int) -> None:
        """To the service itself, which is a child of what led it to another host."""
        targets = processes.children(self.pid) if self._prefix else [self.pid]
        for pid in targets:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ended(self, seconds: float) -> int:
        assert self._process is not None and self._process.stdout is not None
        code = self._process.wait(seconds)
        self._process.stdout.close()
        return code

    def client(self) -> Client:
        """A client that waits for it to come back."""
        return Client(self.address, timeout=20, patience=120)


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
