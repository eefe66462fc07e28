"""A small job for tests of workers: random rows in a file, dropout and Adam on."""

from pathlib import Path

import numpy as np

from gradloom.worker.assembly import TARGET_KINDS, data_sha256
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.spec import DataSpec, Normalize
from gradloom.worker.engine.spec import (
    Adam,
    CosineSchedule,
    Dense,
    Dropout,
    Learning,
    Model,
    Optimizer,
    Relu,
    Residual,
    SoftmaxCrossEntropy,
)
from gradloom.worker.messages import Task

LEARNING = Learning(
    model=Model((Dense(13), Relu(), Dropout(0.3), Residual((Dense(13), Relu())), Dense(3))),
    loss=SoftmaxCrossEntropy(),
    optimizer=Optimizer(Adam(0.01), clip_norm=1.0),
    steps=30,
    seed=3,
    schedule=CosineSchedule(warmup_steps=3),
)

DATA = DataSpec(
    target="labels",
    path="rows.npz",
    inputs=("points",),
    validation_fraction=0.2,
    normalize=Normalize.STANDARD,
)


def write_rows(folder: Path, rows: int = 110) -> None:
    """Three clouds of points in the plane, and which one each is of."""
    random = np.random.Generator(np.random.Philox(1))
    labels = random.integers(0, 3, rows)
    points = random.normal(size=(rows, 2)) + labels[:, None]
    np.savez(folder / "rows.npz", points=points.astype(np.float32), labels=labels)


def task_in(folder: Path, shards: int = 8) -> Task:
    """A task on rows written to the folder; its last batch of an epoch is a small one."""
    write_rows(folder)
    kind = TARGET_KINDS[type(LEARNING.loss)]
    data = prepare(DATA, Roots((folder,)), seed=LEARNING.seed, kind=kind)
    return Task(LEARNING, DATA, data_sha256(data.summary), (str(folder),), 24, shards)
