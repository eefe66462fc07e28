"""What is odd about sound data: columns that say nothing, classes that cannot be learnt."""

from collections.abc import Sequence

import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.dataset import Dataset, input_field
from gradloom.worker.data.normalize import Scaling
from gradloom.worker.data.spec import DataSpec, Normalize
from gradloom.worker.data.target import absent_classes
from gradloom.worker.data.wording import quoted
from gradloom.worker.engine.spec import Fault


def constant_warnings(spec: DataSpec, data: Dataset, scalings: Sequence[Scaling]) -> list[Fault]:
    """One for each array with constant columns that were to be scaled to deviation 1."""
    if spec.normalize is not Normalize.STANDARD:
        return []
    parts = [
        part
        for source, scaling in zip(data.inputs, scalings, strict=True)
        for part in np.split(scaling.constant, np.cumsum(source.widths)[:-1], axis=-1)
    ]
    return [
        Fault(input_field(spec, position), _constant(name, part.reshape(-1)))
        for position, (name, part) in enumerate(zip(data.names, parts, strict=True))
        if part.any()
    ]


def absence_warnings(labels: Array, classes: int | None, field: str = "data.target") -> list[Fault]:
    """At most one, for classes without a training row."""
    return missing_class(*absent_classes(labels, classes), field) if classes else []


def missing_class(count: int, first: int, field: str) -> list[Fault]:
    """The same for so many classes, and the first of them."""
    if not count:
        return []
    more = f" ({count:,} such classes)" if count > 1 else ""
    return [Fault(field, f"Class {first} has no training row{more}: it is not learnt.")]


def _constant(name: str, is_constant: Array) -> str:
    if len(is_constant) == 1:
        return f"{quoted(name)} is constant: it is only centred."
    count, first = int(is_constant.sum()), int(is_constant.argmax())
    more = f" ({count:,} such columns)" if count > 1 else ""
    return f"Column {first:,} of {quoted(name)} is constant{more}: it is only centred."
