"""Whether arrays belong together: as many rows each, and inputs that can be joined."""

from collections.abc import Sequence
from dataclasses import dataclass

from gradloom.worker.data.container import Array
from gradloom.worker.data.wording import counted, quoted
from gradloom.worker.engine.spec import Fault


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An array that could be read, its name, and the field its faults belong to."""

    field: str
    name: str
    array: Array

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row; a single number counts as an axis of length 1."""
        return self.array.shape[1:] or (1,)


def length_faults(parts: Sequence[Part]) -> list[Fault]:
    """Parts whose count of rows is not that of the first one."""
    return [
        Fault(part.field, _unequal(parts[0], part))
        for part in parts
        if len(part.array) != len(parts[0].array)
    ]


def join_faults(inputs: Sequence[Part]) -> list[Fault]:
    """Inputs that differ from the first one in more than the last axis."""
    return [
        Fault(part.field, _unlike(inputs[0], part))
        for part in inputs
        if part.row_shape[:-1] != inputs[0].row_shape[:-1]
    ]


def _unequal(first: Part, part: Part) -> str:
    rows = counted(len(first.array), "row")
    return f"{quoted(first.name)} has {rows}, {quoted(part.name)} {len(part.array):,}."


def _unlike(first: Part, part: Part) -> str:
    return (
        f"A row of {quoted(part.name)} has the shape {part.row_shape}, of {quoted(first.name)} "
        f"{first.row_shape}: inputs are joined along the last axis, all others must be equal."
    )
