"""A service in a process of its own, and clients of it, for tests that kill it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradloom.service.client import Client

GRADLOOM = [sys.executable, "-m", "gradloom.service.cli"]


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is up."""

    process: subprocess.Popen[str]
    address: str
    http_address: str
    backend: str

    def client(self) -> Client:
        """A client of it."""
        return Client(self.address)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """Asks it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def service(
    folder: Path, backend: str = "local", variables: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Starts a service on free ports with its files in the folder; ends it afterwards."""
    arguments = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(
        [*GRADLOOM, "serve", "--data-dir", str(folder), "--backend", backend, *arguments],
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Service(process, ready["grpc"], ready["http"], backend)
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
