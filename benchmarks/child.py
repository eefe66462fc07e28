"""The far end of a pipe: a process that answers requests, one JSON object a line each.

A request names a command and its arguments. Imports the standard library alone, so that it runs in
any contestant's environment.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Any: what JSON holds.
Answer = dict[str, Any]
Command = Callable[..., Answer]


# Wall time is what counts; the processor's is for machines on which others compute as well.
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def serve(commands: Mapping[str, Command]) -> None:
    """Answers every request until the other end closes; what else is printed goes to stderr."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for request in sys.stdin:
            answers.write(json.dumps(_answer(commands, json.loads(request))) + "\n")
            answers.flush()


def _answer(commands: Mapping[str, Command], request: Answer) -> Answer:
    command = commands[request.pop("command")]
    try:
        return command(**request)
    # Whatever it is, the parent says it and ends.
    except Exception:
        return {"error": traceback.format_exc()}


def peak_bytes() -> int:
    """The most memory that this process ever had resident (Linux)."""
    return _status("VmHWM")


def resident_bytes() -> int:
    """The memory that this process has resident now (Linux)."""
    return _status("VmRSS")


def _status(name: str) -> int:
    return next(kilobytes for key, kilobytes in _kilobytes() if key == name) * 1024


def _kilobytes() -> Iterator[tuple[str, int]]:
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if value.endswith(" kB"):
            yield key, int(value.removesuffix(" kB"))
