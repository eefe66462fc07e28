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
from gradloom.worker.engine.attention import ATTENTION
from gradloom.worker.engine.batch_normalization import BATCH_NORM
from gradloom.worker.engine.convolution import CONV1D, CONV2D
from gradloom.worker.engine.dense import DENSE
from gradloom.worker.engine.dropout import DROPOUT
from gradloom.worker.engine.embedding import EMBEDDING, PADDING_MASK, POSITIONS
from gradloom.worker.engine.gru import GRU
from gradloom.worker.engine.lstm import LSTM
from gradloom.worker.engine.normalization import GROUP_NORM, LAYER_NORM, RMS_NORM
from gradloom.worker.engine.operation import Operation
from gradloom.worker.engine.pooling import (
    AVERAGE_POOL1D,
    AVERAGE_POOL2D,
    GLOBAL_AVERAGE_POOL,
    GLOBAL_MAX_POOL,
    MAX_POOL1D,
    MAX_POOL2D,
)
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
    "embedding": EMBEDDING,
    "padding_mask": PADDING_MASK,
    "positions": POSITIONS,
    "attention": ATTENTION,
    "conv1d": CONV1D,
    "conv2d": CONV2D,
    "max_pool1d": MAX_POOL1D,
    "max_pool2d": MAX_POOL2D,
    "average_pool1d": AVERAGE_POOL1D,
    "average_pool2d": AVERAGE_POOL2D,
    "global_average_pool": GLOBAL_AVERAGE_POOL,
    "global_max_pool": GLOBAL_MAX_POOL,
    "batch_norm": BATCH_NORM,
    "reshape": RESHAPE,
    "concat": CONCAT,
    "lstm": LSTM,
    "gru": GRU,
}
