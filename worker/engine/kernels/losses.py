"""The table of losses that jobs run: compiled kernels where there are some, else the twins."""

from gradloom.worker.engine.kernels.cross_entropy import SOFTMAX_CROSS_ENTROPY
from gradloom.worker.engine.losses import RULES, Rules
from gradloom.worker.engine.spec import SoftmaxCrossEntropy

FAST_RULES: Rules = {**RULES, SoftmaxCrossEntropy: SOFTMAX_CROSS_ENTROPY}
