"""A process that is measured, seen from the one that measures: asked in turn, on the same core."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from benchmarks.child import Answer

ROOT = Path(__file__).parents[1]


class ContestantFailed(RuntimeError):
    """A contestant could not do what it was asked; survives pickling."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name} failed: {self.reason}"


@dataclass(frozen=True, slots=True)
class Program:
    """How a contestant is started: its name, a command line and an environment."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class Contestant(AbstractContextManager["Contestant"]):
    """A running contestant; leaving the context ends it."""

    def __init__(self, program: Program) -> None:
        self.name = program.name
        self._process = subprocess.Popen(
            program.command,
            cwd=ROOT,
            env=dict(program.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str, **arguments: object) -> Answer:
        """The answer to a command; raises ContestantFailed."""
        requests, answers = self._pipes()
        try:
            requests.write(json.dumps({"command": command, **arguments}) + "\n")
            requests.flush()
        except BrokenPipeError:
            raise ContestantFailed(self.name, "it has ended") from None
        answer = answers.readline()
        if not answer:
            raise ContestantFailed(self.name, f"it ended when it was asked to {command}")
        return self._sound(json.loads(answer))

    def _sound(self, answer: Answer) -> Answer:
        if "error" in answer:
            raise ContestantFailed(self.name, answer["error"])
        return answer

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise ContestantFailed(self.name, "it was started without pipes")
        return self._process.stdin, self._process.stdout

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in self._pipes():
            pipe.close()
        self._process.wait()
