"""The table of operations that jobs run: compiled kernels where there are some, else the twins."""

from gradloom.worker.engine.fusion import Fusions
from gradloom.worker.engine.kernels.activations import GELU, RELU, SIGMOID, SILU, TANH
from gradloom.worker.engine.kernels.attention import ATTENTION
from gradloom.worker.engine.kernels.batch_normalization import FAST_BATCH_NORM
from gradloom.worker.engine.kernels.convolution import FAST_CONV1D, FAST_CONV2D
from gradloom.worker.engine.kernels.dense import (
    DENSE,
    DENSE_ADD,
    DENSE_GELU,
    DENSE_RELU,
    DENSE_SIGMOID,
    DENSE_SILU,
    DENSE_TANH,
)
from gradloom.worker.engine.kernels.embedding import EMBEDDING
from gradloom.worker.engine.kernels.gru import GRU
from gradloom.worker.engine.kernels.line_norms import LAYER_NORM, RMS_NORM
from gradloom.worker.engine.kernels.lstm import LSTM
from gradloom.worker.engine.operations import OPERATIONS, Operations

FAST: Operations = {
    **OPERATIONS,
    "lstm": LSTM,
    "gru": GRU,
    "relu": RELU,
    "gelu": GELU,
    "silu": SILU,
    "tanh": TANH,
    "sigmoid": SIGMOID,
    "layer_norm": LAYER_NORM,
    "rms_norm": RMS_NORM,
    "attention": ATTENTION,
    "embedding": EMBEDDING,
    "dense": DENSE,
    "dense_add": DENSE_ADD,
    "dense_relu": DENSE_RELU,
    "dense_gelu": DENSE_GELU,
    "dense_silu": DENSE_SILU,
    "dense_tanh": DENSE_TANH,
    "dense_sigmoid": DENSE_SIGMOID,
    "conv1d": FAST_CONV1D,
    "conv2d": FAST_CONV2D,
    "batch_norm": FAST_BATCH_NORM,
    "batch_norm_relu": FAST_BATCH_NORM,
    "batch_norm_max_pool": FAST_BATCH_NORM,
    "batch_norm_relu_max_pool": FAST_BATCH_NORM,
}

# Chains that a kernel computes at once, longer ones first.
FUSIONS: Fusions = {
    ("dense", "relu"): "dense_relu",
    ("dense", "gelu"): "dense_gelu",
    ("dense", "silu"): "dense_silu",
    ("dense", "tanh"): "dense_tanh",
    ("dense", "sigmoid"): "dense_sigmoid",
    ("dense", "add"): "dense_add",
    ("batch_norm", "relu", "max_pool2d"): "batch_norm_relu_max_pool",
    ("batch_norm", "relu", "max_pool1d"): "batch_norm_relu_max_pool",
    ("batch_norm", "max_pool2d"): "batch_norm_max_pool",
    ("batch_norm", "relu"): "batch_norm_relu",
}
