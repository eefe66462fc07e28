"""What a rule of ONNX export is given: one operation of a graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.interchange.onnx_writer import Writer

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A parameter or running mean: its name in the model, and its numbers."""

    name: str
    values: Floats


@dataclass(frozen=True, slots=True)
class Part:
    """One operation to be written: its layer, the names of its inputs, its weights by their role.

    A role is what the operation calls it: weight, bias.
    """

    # Any: each rule knows its own layer.
    layer: Any
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    weights: Mapping[str, Weight]

    @property
    def input(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def axes(self) -> int:
        """The axes of the first input, that of the rows included."""
        return 1 + len(self.input_shapes[0])

    def values(self, role: str) -> Floats:
        """The numbers of a weight."""
        return self.weights[role].values


Rule = Callable[[Writer, Part], str]
