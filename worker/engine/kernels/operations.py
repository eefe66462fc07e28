"""The table of operations that jobs run: compiled kernels where there are some, else the twins."""

from gradloom.worker.engine.fusion import Fusions
from gradloom.worker.engine.kernels.gru import GRU
from gradloom.worker.engine.kernels.lstm import LSTM
from gradloom.worker.engine.operations import OPERATIONS, Operations

FAST: Operations = {
    **OPERATIONS,
    "lstm": LSTM,
    "gru": GRU,
}

# Chains that a kernel computes at once, longer ones first.
FUSIONS: Fusions = {}
