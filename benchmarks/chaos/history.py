"""What was done and what was seen, as it happened: the history that the checker judges."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.generator import Wanted
from gradloom.service.jobs.states import State


@dataclass(slots=True)
class Seen:
    """What one client saw of its job, from submission to end."""

    wanted: Wanted
    name: str = ""
    begun: float = 0.0
    ended: float = 0.0
    state: State | None = None
    reason: str = ""
    message: str = ""
    weights_sha256: str = ""
    states: list[State] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    incidents: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    # Why its client gave up waiting.
    hang: str = ""
    # What its client was told that it should not have been.
    error: str = ""

    @property
    def id(self) -> str:
        """Short name for reports."""
        return f"job {self.wanted.number} ({self.wanted.case.name}, {self.name or 'not made'})"


class History:
    """Lines of what happened, kept in a file as they come; from any thread."""

    def __init__(self, path: Path) -> None:
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1)

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def note(self, what: str, **facts: Any) -> None:
        """Writes a line."""
        line = json.dumps({"time": round(self.now(), 3), "what": what, **facts}, default=str)
        with self._lock:
            self._file.write(f"{line}\n")
