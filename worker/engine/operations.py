"""The table of operations. The walk knows none of them, and none of them knows the walk."""

from collections.abc import Mapping
from typing import Any

from gradloom.worker.engine.activations import GELU, LEAKY_RELU, RELU, SIGMOID, TANH
from gradloom.worker.engine.dense import DENSE
from gradloom.worker.engine.dropout import DROPOUT
from gradloom.worker.engine.operation import Operation
from gradloom.worker.engine.structure import ADD, FLATTEN

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
}
