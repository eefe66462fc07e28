"""The table of operations that jobs run: compiled kernels where there are some, else the twins."""

from gradloom.worker.engine.kernels.gru import GRU
from gradloom.worker.engine.kernels.lstm import LSTM
from gradloom.worker.engine.operations import OPERATIONS, Operations

FAST: Operations = {
    **OPERATIONS,
    "lstm": LSTM,
    "gru": GRU,
}
