"""What a look at the layers costs: a worker's whole step with one, beside the same step without.

From the order to the answer, with what the service makes of it; answered over a pipe.
"""

import math
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.child import Answer, serve
from benchmarks.models import TASKS, Task
from benchmarks.sharded import task_on_rows
from gradloom.service.training.answers import step_reports
from gradloom.service.training.diagnoses import Doctor
from gradloom.worker.data.batches import default_shards
from gradloom.worker.engine.spec import Dense, Dropout, Model, Relu, Target
from gradloom.worker.messages import Answer as Told
from gradloom.worker.messages import AnswerKind, Formation, Member, Order, Train, decode
from gradloom.worker.messages import Task as Orders
from gradloom.worker.server import Server

# A model so small that its steps are mostly calls, which looks add to.
SMALL = Task(
    Model((Dense(128), Relu(), Dropout(0.2), Dense(128), Relu(), Dense(10))),
    (64,),
    Target("labels", classes=10),
)
_STEPS_UNTIMED = 3


class Course:
    """A worker that trains alone, and the service's end of it."""

    def __init__(self, task: Orders) -> None:
        self._server = Server()
        _sound(self._server.answer((task, None)))
        alone = Member(0, 0, "", os.getpid(), 0, task.shards)
        self._formation = Formation(1, (alone,), b"", "", patience=math.inf)
        self._doctor = Doctor()
        self._step = 0

    def step(self) -> float:
        """Seconds from the order to what there is to tell."""
        order = Order(0, self._step + 1, self._step, self._formation, Train(1))
        began = time.perf_counter()
        answer = _sound(self._server.answer(order))
        for report in step_reports(answer, self._step):
            self._doctor.committed(report)
        seconds = time.perf_counter() - began
        self._step += 1
        return seconds

    def end(self) -> None:
        """Lets go of its memory."""
        self._server.leave()


def _sound(encoded: bytes) -> Told:
    answer = decode(encoded)
    if answer.kind is AnswerKind.ERROR:
        raise RuntimeError(f"the worker answers: {answer.facts.get('message')}")
    return answer


def looks(model: str, batch: int, rounds: int) -> Answer:
    """Median seconds of a step without a look and with one, taken in turns, and of what it adds."""
    task = TASKS.get(model, SMALL)
    with tempfile.TemporaryDirectory() as folder:
        orders = task_on_rows(task, Path(folder), batch, default_shards(batch), steps=10**6)
        plain, looked = (Course(replace(orders, health_interval=n)) for n in (0, 1))
        for _ in range(_STEPS_UNTIMED):
            plain.step(), looked.step()
        pairs = [(plain.step(), looked.step()) for _ in range(rounds)]
        plain.end()
        looked.end()
    return {
        "step": median(one for one, _ in pairs),
        "looked": median(other for _, other in pairs),
        "added": median(other - one for one, other in pairs),
    }


if __name__ == "__main__":
    serve({"looks": looks})
