"""Services in processes of their own, for programs that measure."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradloom.service.client import Client

SERVE = (sys.executable, "-m", "gradloom.service.cli", "serve", "--json")
START_SECONDS = 60.0
STOP_SECONDS = 60.0


@contextmanager
def client_here(folder: Path, *options: str) -> Iterator[Client]:
    """A client of a service of this machine with its files in the folder; both end afterwards."""
    places = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", str(folder))
    with subprocess.Popen(
        [*SERVE, *places, *options], env=dict(os.environ), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            with Client(ready(process)) as client:
                yield client
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def ready(process: "subprocess.Popen[str]") -> str:
    """The address at which a service says it is reached. Raises TimeoutError or RuntimeError."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], START_SECONDS)[0]:
        raise TimeoutError(f"the service was not ready within {START_SECONDS:.0f} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the service ended before it was ready: its last lines say why")
    return str(json.loads(line)["grpc"])
