"""The table of operations that jobs run: compiled kernels where there are some, else the twins."""

from gradloom.worker.engine.fusion import Fusions
from gradloom.worker.engine.kernels.batch_normalization import FAST_BATCH_NORM
from gradloom.worker.engine.kernels.convolution import FAST_CONV1D, FAST_CONV2D
from gradloom.worker.engine.operations import OPERATIONS, Operations

FAST: Operations = {
    **OPERATIONS,
    "conv1d": FAST_CONV1D,
    "conv2d": FAST_CONV2D,
    "batch_norm": FAST_BATCH_NORM,
    "batch_norm_relu": FAST_BATCH_NORM,
    "batch_norm_max_pool": FAST_BATCH_NORM,
    "batch_norm_relu_max_pool": FAST_BATCH_NORM,
}

# Chains that a kernel computes at once, longer ones first.
FUSIONS: Fusions = {
    ("batch_norm", "relu", "max_pool2d"): "batch_norm_relu_max_pool",
    ("batch_norm", "relu", "max_pool1d"): "batch_norm_relu_max_pool",
    ("batch_norm", "max_pool2d"): "batch_norm_max_pool",
    ("batch_norm", "relu"): "batch_norm_relu",
}
