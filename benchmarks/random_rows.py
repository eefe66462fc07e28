"""Rows of random numbers as a file, in the shape that a model reads."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.models import Task
from gradloom.worker.data.spec import DataSpec

# Where the file stands in its folder, and what is in it.
DATA = DataSpec(target="labels", path="rows.npz", inputs=("rows",))


def write_rows(task: Task, folder: Path, rows: int) -> None:
    """Puts so many rows where DATA says, below the folder."""
    random = np.random.default_rng(0)
    count = rows * math.prod(task.target.shape)
    labels = random.permutation(np.arange(count) % task.target.classes)
    np.savez(
        folder / DATA.path,
        rows=_inputs(task, random, rows),
        labels=labels.reshape(rows, *task.target.shape),
    )


def _inputs(task: Task, random: np.random.Generator, rows: int) -> npt.NDArray[np.generic]:
    """Tokens where the model reads them, else numbers."""
    tokens = task.graph().choices(0)
    if tokens:
        return random.integers(0, tokens, (rows, *task.input_shape))
    return random.standard_normal((rows, *task.input_shape), np.float32)
