"""The table from our operations to ONNX operators, one rule each.

Shapes in rules leave the row axis out; axes count it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.interchange.onnx_writer import Writer

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """One operation to be written: its layer, the names of its inputs, its weights by name."""

    # Any: each rule knows its own layer.
    layer: Any
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    shape: Shape
    prefix: str
    weights: Mapping[str, Weights]

    @property
    def input(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def axes(self) -> int:
        """The axes of the first input, that of the rows included."""
        return 1 + len(self.input_shapes[0])


Rule = Callable[[Writer, Part], str]


def _operator(name: str) -> Rule:
    """An operation that ONNX has under this name."""
    return lambda write, part: write.add(name, *part.inputs)


def _same(_write: Writer, part: Part) -> str:
    """Dropout leaves its input alone outside training."""
    return part.input


def _weight(write: Writer, part: Part, name: str) -> str:
    return write.array(part.weights[name], part.prefix + name)


def _dense(write: Writer, part: Part) -> str:
    # The product wants (inputs, units).
    transposed = write.array(part.weights["weight"].T, f"{part.prefix}weight.transposed")
    product = write.add("MatMul", part.input, transposed)
    if not part.layer.bias:
        return product
    return write.add("Add", product, _weight(write, part, "bias"))


def _reshape(write: Writer, part: Part) -> str:
    return write.reshaped(part.input, *part.shape)


def _leaky_relu(write: Writer, part: Part) -> str:
    return write.add("LeakyRelu", part.input, alpha=part.layer.slope)


def _elu(write: Writer, part: Part) -> str:
    return write.add("Elu", part.input, alpha=part.layer.alpha)


def _gelu(write: Writer, part: Part) -> str:
    return write.add("Gelu", part.input, approximate=str(part.layer.approximation))


def _silu(write: Writer, part: Part) -> str:
    return write.add("Mul", part.input, write.add("Sigmoid", part.input))


def _softmax(write: Writer, part: Part) -> str:
    return write.add("Softmax", part.input, axis=-1)


def _layer_norm(write: Writer, part: Part) -> str:
    weight, bias = _weight(write, part, "weight"), _weight(write, part, "bias")
    return write.add(
        "LayerNormalization", part.input, weight, bias, axis=-1, epsilon=part.layer.epsilon
    )


def _rms_norm(write: Writer, part: Part) -> str:
    scaled = _scaled(write, part.input, part.layer.epsilon, -1)
    return write.add("Mul", scaled, _weight(write, part, "weight"))


def _scaled(write: Writer, value: str, epsilon: float, *axes: int) -> str:
    """The value over the root of its mean square."""
    square = write.mean(write.add("Mul", value, value), *axes)
    root = write.add("Sqrt", write.add("Add", square, write.number(epsilon)))
    return write.add("Div", value, root)


def _group_norm(write: Writer, part: Part) -> str:
    groups, channels = part.layer.groups, part.input_shapes[0][-1]
    positions = prod(part.input_shapes[0][:-1])
    grouped = write.reshaped(part.input, positions, groups, channels // groups)
    centred = write.add("Sub", grouped, write.mean(grouped, 1, 3))
    scaled = _scaled(write, centred, part.layer.epsilon, 1, 3)
    whole = write.reshaped(scaled, *part.shape)
    product = write.add("Mul", whole, _weight(write, part, "weight"))
    return write.add("Add", product, _weight(write, part, "bias"))


RULES: Mapping[str, Rule] = {
    "add": _operator("Add"),
    "dense": _dense,
    "dropout": _same,
    "flatten": _reshape,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "relu": _operator("Relu"),
    "sigmoid": _operator("Sigmoid"),
    "tanh": _operator("Tanh"),
    "elu": _elu,
    "selu": _operator("Selu"),
    "silu": _silu,
    "softplus": _operator("Softplus"),
    "hardswish": _operator("HardSwish"),
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
}
