"""A small stream for tests: rows that say which they are, in blocks of eight."""

from pathlib import Path

import numpy as np

from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.prepared import Prepared
from gradloom.worker.data.spec import DataSpec, Normalize, Stream
from gradloom.worker.data.streams import NOTHING_GIVEN, Given
from gradloom.worker.data.target import TargetKind

ROWS = 203
STREAM = DataSpec("labels", "rows.npz", inputs=("points", "number"), stream=Stream(window_rows=64))


def write(folder: Path, rows: int = ROWS) -> None:
    """Points, and the number of each row, which follows from no other."""
    random = np.random.Generator(np.random.Philox(1))
    points = random.normal(size=(rows, 2)).astype(np.float32)
    np.savez(
        folder / "rows.npz",
        points=points,
        number=np.arange(rows, dtype=np.int32),
        labels=np.arange(rows) % 3,
    )


def stream(
    folder: Path, spec: DataSpec = STREAM, seed: int = 7, given: Given = NOTHING_GIVEN
) -> Prepared:
    return prepare(spec, Roots((folder,)), seed=seed, kind=TargetKind.LABELS, given=given)


def scaled(fraction: float = 0.2) -> DataSpec:
    return DataSpec(
        "labels",
        "rows.npz",
        inputs=("points", "number"),
        validation_fraction=fraction,
        normalize=Normalize.STANDARD,
        stream=Stream(window_rows=64),
    )
