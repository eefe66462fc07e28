"""Collects the nodes and constants of an ONNX graph under names that do not clash."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, starmap

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

# Any type: weights are float32, shapes int64.
Constant = npt.NDArray[np.float32] | npt.NDArray[np.int64] | npt.NDArray[np.bool_]
Attribute = int | float | str | list[int]


@dataclass(frozen=True, slots=True)
class Writer:
    """An ONNX graph in the making; values are known by their names."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def add(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """A node with one output, whose name is returned; an input "" is one that is left out."""
        return self.several(operator, inputs, 1, **attributes)[0]

    def several(
        self, operator: str, inputs: tuple[str, ...], outputs: int, **attributes: Attribute
    ) -> tuple[str, ...]:
        """A node with so many outputs."""
        number = next(self._numbers)
        names = tuple(f"{operator.lower()}_{number}_{place}" for place in range(outputs))
        node = helper.make_node(operator, inputs, names)
        node.attribute.extend(starmap(helper.make_attribute, attributes.items()))
        self.nodes.append(node)
        return names

    def array(self, values: Constant, name: str = "") -> str:
        """A constant; a parameter keeps its name."""
        name = name or f"constant_{next(self._numbers)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def number(self, value: float) -> str:
        """A float32 scalar."""
        return self.array(np.asarray(value, np.float32))

    def integers(self, *values: int) -> str:
        """A vector of int64: a shape, or axes."""
        return self.array(np.asarray(values, np.int64))

    def reshaped(self, value: str, *shape: int) -> str:
        """The rows in another shape, which leaves the row axis out."""
        return self.add("Reshape", value, self.integers(-1, *shape))

    def mean(self, value: str, *axes: int) -> str:
        """Means along axes, which stay with length 1."""
        return self.add("ReduceMean", value, self.integers(*axes), keepdims=1)

    def channels_first(self, value: str, axes: int) -> str:
        """(N, …, C) with so many axes in all as (N, C, …)."""
        return self.add("Transpose", value, perm=[0, axes - 1, *range(1, axes - 1)])

    def channels_last(self, value: str, axes: int) -> str:
        """(N, C, …) with so many axes in all as (N, …, C)."""
        return self.add("Transpose", value, perm=[0, *range(2, axes), 1])
