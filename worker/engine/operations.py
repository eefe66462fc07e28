"""The table of operations. The walk knows none of them, and none of them knows the walk."""

from collections.abc import Mapping
from typing import Any

from gradloom.worker.engine.activations import (
    ELU,
    GELU,
    HARDSWISH,
    LEAKY_RELU,
    RELU,
    SELU,
    SIGMOID,
    SILU,
    SOFTMAX,
    SOFTPLUS,
    TANH,
)
from gradloom.worker.engine.dense import DENSE
from gradloom.worker.engine.dropout import DROPOUT
from gradloom.worker.engine.normalization import GROUP_NORM, LAYER_NORM, RMS_NORM
from gradloom.worker.engine.operation import Operation
from gradloom.worker.engine.structure import ADD, CONCAT, FLATTEN, RESHAPE

# Any: each row takes its own layer's description.
Operations = Mapping[str, Operation[Any]]

OPERATIONS: Operations = {
    "add": ADD,
    "dense": DENSE,
    "dropout": DROPOUT,
    "flatten": FLATTEN,
    "gelu": GELU,
    "leaky_relu": LEAKY_RELU,
    "relu": RELU,
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "elu": ELU,
    "selu": SELU,
    "silu": SILU,
    "softplus": SOFTPLUS,
    "hardswish": HARDSWISH,
    "softmax": SOFTMAX,
    "layer_norm": LAYER_NORM,
    "rms_norm": RMS_NORM,
    "group_norm": GROUP_NORM,
    "reshape": RESHAPE,
    "concat": CONCAT,
}
