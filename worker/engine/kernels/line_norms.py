"""Layer and root mean square normalisation, a line at a time.

M stands for rows times positions, C for channels. A line's mean and what it is multiplied by are
saved; the normalised numbers are made again from them where they are needed.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from dataclasses import replace

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.reductions import dot, total
from gradloom.worker.engine.normalization import LAYER_NORM as LAYER_NORM_TWIN
from gradloom.worker.engine.normalization import RMS_NORM as RMS_NORM_TWIN
from gradloom.worker.engine.normalization import Norm
from gradloom.worker.engine.operation import Call, Operation, Shapes
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import RmsNorm


@kernel
def _forward_kernel(
    x_MC: Array,
    weight_C: Array,
    bias_C: Array,
    y_MC: Array,
    saved_M2: Array,
    epsilon: float,
    is_centred: bool,
) -> None:
    M, C = x_MC.shape
    for m in range(M):
        x, y = x_MC[m], y_MC[m]
        middle = total(x) / type(x[0])(C) if is_centred else type(x[0])(0)
        for c in range(C):
            y[c] = x[c] - middle
        scale = type(x[0])(1 / np.sqrt(dot(y, y) / type(x[0])(C) + epsilon))
        for c in range(C):
            y[c] = y[c] * scale * weight_C[c] + bias_C[c]
        saved_M2[m, 0] = middle
        saved_M2[m, 1] = scale


@kernel
def _vjp_kernel(
    x_MC: Array,
    weight_C: Array,
    saved_M2: Array,
    dy_MC: Array,
    dx_MC: Array,
    line_C: Array,
    is_centred: bool,
) -> None:
    M, C = x_MC.shape
    for m in range(M):
        x, dy, dx = x_MC[m], dy_MC[m], dx_MC[m]
        middle, scale = saved_M2[m, 0], saved_M2[m, 1]
        for c in range(C):
            dx[c] = dy[c] * weight_C[c]
        for c in range(C):
            line_C[c] = (x[c] - middle) * scale
        mean = total(dx) / type(x[0])(C) if is_centred else type(x[0])(0)
        product = dot(dx, line_C) / type(x[0])(C)
        for c in range(C):
            dx[c] = (dx[c] - mean - line_C[c] * product) * scale


@kernel
def _vjp_parameters_kernel(
    x_MC: Array, saved_M2: Array, dy_MC: Array, dw_C: Array, db_C: Array
) -> None:
    dw_C[:] = 0
    db_C[:] = 0
    M, C = x_MC.shape
    for m in range(M):
        x, dy = x_MC[m], dy_MC[m]
        middle, scale = saved_M2[m, 0], saved_M2[m, 1]
        for c in range(C):
            dw_C[c] += dy[c] * ((x[c] - middle) * scale)
        for c in range(C):
            db_C[c] += dy[c]


def _saved(_layer: Norm, inputs: Shapes) -> tuple[Buffer, ...]:
    """The mean of each line, and what the line is multiplied by."""
    return (Buffer((*inputs[0][:-1], 2)),)


def _scratch(_layer: Norm, inputs: Shapes) -> tuple[Buffer, ...]:
    """Two lines; the second is what is not trained, the bias of a norm that has none."""
    line = Buffer((inputs[0][-1],), per_row=False)
    return line, line


def _forward(call: Call[Norm], _key: Key | None) -> None:
    weight, *bias = call.parameters
    is_centred = not isinstance(call.layer, RmsNorm)
    if not bias:
        call.scratch[1].fill(0)
    x_MC, y_MC = _lines(call.inputs[0]), _lines(call.output)
    arrays = x_MC, weight, (*bias, call.scratch[1])[0], y_MC, _lines(call.saved[0])
    _forward_kernel(*arrays, call.layer.epsilon, is_centred)


def _vjp(call: Call[Norm]) -> None:
    (dx,) = call.input_gradients
    if dx is None:
        return
    x_MC, dy_MC = _lines(call.inputs[0]), _lines(call.output_gradient)
    arrays = x_MC, call.parameters[0], _lines(call.saved[0]), dy_MC, _lines(dx), call.scratch[0]
    _vjp_kernel(*arrays, not isinstance(call.layer, RmsNorm))


def _vjp_parameters(call: Call[Norm]) -> None:
    dw, *bias_gradient = call.parameter_gradients
    x_MC, dy_MC = _lines(call.inputs[0]), _lines(call.output_gradient)
    db = (*bias_gradient, call.scratch[1])[0]
    _vjp_parameters_kernel(x_MC, _lines(call.saved[0]), dy_MC, dw, db)


def _lines(array: Array) -> Array:
    return array.reshape(-1, array.shape[-1])


LAYER_NORM: Operation[Norm] = replace(
    LAYER_NORM_TWIN,
    forward=_forward,
    vjp=_vjp,
    vjp_parameters=_vjp_parameters,
    keeps=("input",),
    saved=_saved,
    scratch=_scratch,
    rowwise=True,
)
RMS_NORM: Operation[Norm] = replace(LAYER_NORM, shape=RMS_NORM_TWIN.shape)
