"""Members in processes, seen from the test that starts, stops and kills them."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from gradloom.worker.exchange.star import summed
from gradloom.worker.messages import Member
from tests.worker.exchange.formations import Layout, roots

ROOT = Path(__file__).parents[3]
_TIMEOUT = 30.0

# Any: what JSON holds.
Answer = dict[str, Any]


class MemberProcess:
    """One process."""

    def __init__(self, host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> None:
        """host is where it listens; prefix begins its command line."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # end closes it
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.worker.exchange.member", host],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.address = str(self.ask("listen")["address"])

    def tell(self, command: str, **arguments: object) -> None:
        """Sends a command; hear has the answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Answer:
        """The next line."""
        assert self.process.stdout
        with DefaultSelector() as selector:
            selector.register(self.process.stdout, EVENT_READ)
            assert selector.select(_TIMEOUT), "a member hangs"
        line = self.process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(self._errors.read().decode())
        answer: Answer = json.loads(line)
        return answer

    def ask(self, command: str, **arguments: object) -> Answer:
        """Both."""
        self.tell(command, **arguments)
        return self.hear()

    def kill(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.process.pid, number)

    def end(self) -> None:
        """It is gone when this returns."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            assert pipe
            pipe.close()


class Run(AbstractContextManager["Run"]):
    """A job of members in processes; members is by worker's number, as in its last formation."""

    def __init__(
        self,
        cells: Sequence[int],
        layout: Layout,
        folder: Path,
        patience: float = 10.0,
        places: Mapping[int, tuple[str, Sequence[str]]] = MappingProxyType({}),
        certificate: bytes = b"",
    ) -> None:
        """places are the arguments of MemberProcess, by cell."""
        self.layout, self.folder, self.patience = layout, folder, patience
        self.certificate = certificate.decode()
        self.processes = {
            worker: MemberProcess(*places.get(cell, ())) for worker, cell in enumerate(cells)
        }
        self.cells = dict(enumerate(cells))
        self.number = self.step = 0
        self.states = [np.zeros(layout.size, np.float32)]

    def form(self) -> dict[int, Answer]:
        """Enters a new formation of all processes; their answers."""
        self.number += 1
        workers = sorted(self.processes)
        shards = self.layout.shards
        bounds = [shards * i // len(workers) for i in range(len(workers) + 1)]
        self.members = [
            Member(worker, self.cells[worker], self.processes[worker].address, 0, first, last)
            for worker, (first, last) in zip(workers, pairwise(bounds), strict=True)
        ]
        for worker in workers:
            self.processes[worker].tell(
                "enter",
                worker=worker,
                number=self.number,
                members=[[m.worker, m.cell, m.address, 0, m.first, m.last] for m in self.members],
                size=self.layout.size,
                shards=shards,
                folder=str(self.folder),
                patience=self.patience,
                step=self.step,
                certificate=self.certificate,
                state=base64.b64encode(self.expected(self.step).tobytes()).decode(),
            )
        return self.heard()

    def heard(self) -> dict[int, Answer]:
        """What each says next."""
        return {worker: process.hear() for worker, process in self.processes.items()}

    def expected(self, step: int) -> Any:
        """The vector at a step, by the star."""
        while len(self.states) <= step:
            parts = [roots(member, self.layout, len(self.states) - 1) for member in self.members]
            self.states.append(self.states[-1] + summed(parts, self.layout.shards).gradient)
        return self.states[step]

    def replace(self, worker: int) -> None:
        """A new process in the place of one that is no more."""
        self.processes[worker] = MemberProcess()

    def steps(self, count: int) -> None:
        """Makes so many steps, and holds them to the star."""
        for process in self.processes.values():
            process.tell("make", steps=count)
        answers = self.heard()
        self.step += count
        for answer in answers.values():
            assert answer["step"] == self.step
            assert base64.b64decode(answer["state"]) == self.expected(self.step).tobytes()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            process.end()
