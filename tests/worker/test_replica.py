"""A replica by itself."""

from dataclasses import replace
from pathlib import Path

from gradloom.worker.assembly import TARGET_KINDS
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.engine.spec import Conv2d, Dense, Flatten, Model, Padding, Reshape
from gradloom.worker.replica import Replica
from tests.worker.jobs import task_in


def test_what_is_rehearsed_is_what_a_step_takes(tmp_path: Path) -> None:
    """Kernels of convolutions take numbers of one width alone: a worker could not start."""
    task = task_in(tmp_path)
    convolution = Conv2d(16, (3,), padding=Padding.SAME)
    model = Model((Reshape((2, 1, 1)), convolution, Flatten(), Dense(3)))
    learning = replace(task.learning, model=model)
    kind = TARGET_KINDS[type(learning.loss)]
    data = prepare(task.data, Roots((tmp_path,)), seed=learning.seed, kind=kind)
    replica = Replica(replace(task, learning=learning), data)
    replica.rehearse()
    assert not any(replica.seconds.take().values())
