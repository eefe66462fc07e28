"""The gradient into an embedding's table.

M stands for rows times tokens, V for the size of the table, D for the width of a token's vector.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from dataclasses import replace

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.embedding import EMBEDDING as TWIN
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.operation import Call, Operation
from gradloom.worker.engine.spec import Embedding


@kernel
def _sums(indices_M: Array, dy_MD: Array, dw_VD: Array) -> None:
    dw_VD[:] = 0
    V, D = dw_VD.shape
    for m in range(indices_M.size):
        dw, dy = dw_VD[min(max(indices_M[m], 0), V - 1)], dy_MD[m]
        for d in range(D):
            dw[d] += dy[d]


def _vjp_parameters(call: Call[Embedding]) -> None:
    (dw_VD,) = call.parameter_gradients
    dy_MD = call.output_gradient.reshape(-1, dw_VD.shape[1])
    _sums(call.saved[0].reshape(-1), dy_MD, dw_VD)


EMBEDDING: Operation[Embedding] = replace(TWIN, vjp_parameters=_vjp_parameters)
