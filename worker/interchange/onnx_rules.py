"""The table from our operations to ONNX operators, one rule each.

Shapes in rules leave the row axis out; axes count it.
"""

from collections.abc import Mapping
from functools import reduce
from math import prod

import numpy as np
from onnx import TensorProto

from gradloom.worker.engine.window import Windows, windows
from gradloom.worker.interchange.onnx_attention import attention
from gradloom.worker.interchange.onnx_part import Floats, Part, Rule
from gradloom.worker.interchange.onnx_writer import Writer


def _operator(name: str) -> Rule:
    """An operation that ONNX has under this name."""
    return lambda write, part: write.add(name, *part.inputs)


def _same(_write: Writer, part: Part) -> str:
    """Dropout leaves its input alone outside training."""
    return part.input


def _weight(write: Writer, part: Part, role: str) -> str:
    return write.array(part.values(role), part.weights[role].name)


def _dense(write: Writer, part: Part) -> str:
    # The product wants (inputs, units).
    weight = part.weights["weight"]
    product = write.add(
        "MatMul", part.input, write.array(weight.values.T, f"{weight.name}.transposed")
    )
    if not part.layer.bias:
        return product
    return write.add("Add", product, _weight(write, part, "bias"))


def _add(write: Writer, part: Part) -> str:
    """One after the other, as ours."""
    return reduce(lambda total, each: write.add("Add", total, each), part.inputs)


def _concat(write: Writer, part: Part) -> str:
    return write.add("Concat", *part.inputs, axis=-1)


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


def _batch_norm(write: Writer, part: Part) -> str:
    variance = part.values("running_var").astype(np.float64)
    scale = part.values("weight") / np.sqrt(variance + part.layer.epsilon)
    centred = write.add("Sub", part.input, _weight(write, part, "running_mean"))
    product = write.add("Mul", centred, write.array(scale.astype(np.float32)))
    return write.add("Add", product, _weight(write, part, "bias"))


def _over_positions(operator: str) -> Rule:
    """A reduction over all axes but those of rows and channels."""

    def rule(write: Writer, part: Part) -> str:
        axes = write.integers(*range(1, part.axes - 1))
        return write.add(operator, part.input, axes, keepdims=0)

    return rule


def _convolution(write: Writer, part: Part) -> str:
    over = windows(part.layer, part.input_shapes[0][:-1])
    roles = [role for role in ("weight", "bias") if role in part.weights]
    convolved = write.add(
        "Conv",
        write.channels_first(part.input, part.axes),
        *(_weight(write, part, role) for role in roles),
        dilations=[axis.dilation for axis in over.axes],
        group=part.layer.groups,
        **_sliding(over),
    )
    return write.channels_last(convolved, part.axes)


def _pool(operator: str, **more: int) -> Rule:
    def rule(write: Writer, part: Part) -> str:
        over = windows(part.layer, part.input_shapes[0][:-1])
        first = write.channels_first(part.input, part.axes)
        return write.channels_last(write.add(operator, first, **_sliding(over), **more), part.axes)

    return rule


def _sliding(over: Windows) -> dict[str, list[int]]:
    """The attributes that convolutions and poolings share."""
    return {
        "kernel_shape": [axis.size for axis in over.axes],
        "strides": [axis.stride for axis in over.axes],
        "pads": [*(axis.before for axis in over.axes), *(axis.after for axis in over.axes)],
    }


def _embedding(write: Writer, part: Part) -> str:
    tokens = write.add("Cast", part.input, to=TensorProto.INT64)
    return write.add("Gather", _weight(write, part, "weight"), tokens, axis=0)


def _padding_mask(write: Writer, part: Part) -> str:
    padding = -1 if part.layer.padding_index is None else part.layer.padding_index
    is_padding = write.add("Equal", part.input, write.number(padding))
    return write.add("Cast", write.add("Not", is_padding), to=TensorProto.FLOAT)


def _positions(write: Writer, part: Part) -> str:
    weight = part.weights["weight"]
    used = write.array(weight.values[: part.input_shapes[0][0]], weight.name)
    return write.add("Add", part.input, used)


# ONNX's order of the gates, as places in PyTorch's.
_LSTM_GATES = (0, 3, 1, 2)
_GRU_GATES = (1, 0, 2)


def _recurrent(operator: str, gates: tuple[int, ...], **more: int) -> Rule:
    def rule(write: Writer, part: Part) -> str:
        endings = ("l0", "l0_reverse") if part.layer.bidirectional else ("l0",)

        def stacked(*roles: str) -> str:
            """For each direction its weights one below the other, the gates in ONNX's order."""
            parts = [
                np.concatenate(
                    [_reordered(part.values(f"{role}_{ending}"), gates) for role in roles]
                )
                for ending in endings
            ]
            return write.array(np.stack(parts))

        biases = [stacked("bias_ih", "bias_hh")] if part.layer.bias else []
        every, last = write.several(
            operator,
            (
                write.add("Transpose", part.input, perm=[1, 0, 2]),
                stacked("weight_ih"),
                stacked("weight_hh"),
                *biases,
            ),
            2,
            hidden_size=part.layer.units,
            direction="bidirectional" if part.layer.bidirectional else "forward",
            **more,
        )
        if part.layer.return_sequences:
            return write.reshaped(write.add("Transpose", every, perm=[2, 0, 1, 3]), *part.shape)
        return write.reshaped(write.add("Transpose", last, perm=[1, 0, 2]), *part.shape)

    return rule


def _reordered(values: Floats, gates: tuple[int, ...]) -> Floats:
    blocks = np.split(values, len(gates))
    return np.concatenate([blocks[place] for place in gates])


RULES: Mapping[str, Rule] = {
    "add": _add,
    "attention": attention,
    "average_pool1d": _pool("AveragePool"),
    "average_pool2d": _pool("AveragePool"),
    "batch_norm": _batch_norm,
    "concat": _concat,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "embedding": _embedding,
    "global_average_pool": _over_positions("ReduceMean"),
    "global_max_pool": _over_positions("ReduceMax"),
    "gru": _recurrent("GRU", _GRU_GATES, linear_before_reset=1),
    "lstm": _recurrent("LSTM", _LSTM_GATES),
    "max_pool1d": _pool("MaxPool"),
    "max_pool2d": _pool("MaxPool"),
    "padding_mask": _padding_mask,
    "positions": _positions,
    "reshape": _reshape,
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
