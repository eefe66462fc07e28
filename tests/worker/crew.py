"""Workers of one job, each a server in a thread of this process, that make their steps together."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from gradloom.worker.messages import (
    Answer,
    AnswerKind,
    Content,
    Formation,
    Member,
    Order,
    Snapshot,
    Task,
    Train,
    Work,
    decode,
)
from gradloom.worker.server import Server

_RUNS = count()
_MADE: list["Crew"] = []


def disband() -> None:
    """Closes all crews that a test has made."""
    while _MADE:
        _MADE.pop().close()


class Crew:
    """So many workers that share memory, all of them ready."""

    def __init__(self, task: Task, workers: int = 1, state: bytes | None = None) -> None:
        _MADE.append(self)
        self.task = task
        self.servers = [Server() for _ in range(workers)]
        self.ready = [decode(server.answer((task, state))) for server in self.servers]
        assert {answer.kind for answer in self.ready} == {AnswerKind.READY}
        self._pool = ThreadPoolExecutor(workers)
        self._rounds = count(1)
        self._segment = str(Path(task.roots[0]) / f"segment-{next(_RUNS)}")
        self.formation = self._formed(next(self._rounds))

    def _formed(self, number: int) -> Formation:
        workers, shards = len(self.servers), self.task.shards
        members = tuple(
            Member(
                worker=place,
                cell=0,
                address=str(ready.facts["address"]),
                pid=os.getpid(),
                first=place * shards // workers,
                last=(place + 1) * shards // workers,
            )
            for place, ready in enumerate(self.ready)
        )
        return Formation(number, members, b"key", self._segment, patience=30.0)

    def order(self, worker: int, work: Work, step: int, **more: Any) -> Answer:
        """The answer of one worker to an order."""
        number = next(self._rounds)
        order = Order(worker, number, step, self.formation, work, **more)
        return decode(self.servers[worker].answer(order))

    def all(self, work: Work, step: int, **more: Any) -> list[Answer]:
        """The answers of all workers to an order."""
        return list(
            self._pool.map(
                lambda worker: self.order(worker, work, step, **more), range(len(self.servers))
            )
        )

    def train(self, first: int, last: int) -> list[dict[str, Any]]:
        """Makes the steps first … last-1; their reports, which are the same of all workers."""
        answers = self.all(Train(last - first), first)
        for answer in answers:
            assert answer.kind is AnswerKind.DONE, answer.facts
        reports = [_reports(answer) for answer in answers]
        assert all(report == reports[0] for report in reports)
        return reports[0]

    def weights(self, step: int, worker: int = 0) -> object:
        """The weights' hash at a step."""
        return self.order(worker, Snapshot(Content.MODEL), step).facts["weights_sha256"]

    def close(self) -> None:
        """Lets go of everything."""
        for server in self.servers:
            server.leave()
        self._pool.shutdown()


def _reports(answer: Answer) -> list[dict[str, Any]]:
    commits: Any = answer.facts["commits"]
    return [{name: commit[name] for name in commit if name != "seconds"} for commit in commits]


def trained(task: Task, workers: int, steps: int) -> object:
    """The weights' hash after so many steps by so many workers."""
    crew = Crew(task, workers)
    crew.train(0, steps)
    hashes = {crew.weights(steps, worker) for worker in range(workers)}
    assert len(hashes) == 1
    return hashes.pop()
