"""Long short-term memory in NumPy: i, f, o = σ(…), g = tanh(…), c' = f c + i g, h' = o tanh(c').

N stands for rows, U for units, M for rows times steps; gates stand in PyTorch's order i, f, g, o.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from typing import Final

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.numerics import sigmoid
from gradloom.worker.engine.recurrent import (
    Cell,
    Direction,
    Step,
    add_output,
    blocks,
    copy_all,
    flat,
    operation,
    parts,
    store,
)

GATES: Final = 4


def biases(parameters: tuple[Array, ...], bias_B: Array) -> None:
    """The sum of both biases; zeros where there are none."""
    bias_B.fill(0)
    for bias in parameters:
        np.add(bias_B, bias, out=bias_B)


def gradients(direction: Direction, found: tuple[Array, ...]) -> None:
    """Of the recurrent weights and the biases."""
    dw_GU, *bias_gradients = found
    gates_MG = flat(direction.gates_NTG)
    np.matmul(gates_MG.T, flat(direction.hidden_NTU), out=dw_GU)
    for db_G in bias_gradients:
        np.add.reduce(gates_MG, axis=0, out=db_G)


def _forward(direction: Direction, step: Step) -> None:
    units = direction.state_NU.shape[1]
    gates_NG, sums_NG, work_NG = (
        direction.gates_NTG[:, step.number],
        direction.recurrent_NG,
        direction.work_NG,
    )
    for addend in (gates_NG, direction.bias_B):
        np.copyto(work_NG, addend)
        np.add(sums_NG, work_NG, out=sums_NG)
    i, f, g, o = gates = parts(work_NG, units)
    copy_all(blocks(sums_NG, units), gates)
    for gate in (i, f, o):
        sigmoid(gate, gate, direction.state_NU)
    np.tanh(g, out=g)
    copy_all(gates, blocks(gates_NG, units))
    _new_state(direction, step, gates)


def _new_state(direction: Direction, step: Step, gates: list[Array]) -> None:
    i, f, g, o = gates
    cells_NTU, squashed_NTU = direction.kept_NTU
    c, state = direction.carry_NU, direction.state_NU
    np.multiply(i, g, out=c)
    if step.before >= 0:
        np.copyto(state, cells_NTU[:, step.before])
        np.multiply(f, state, out=state)
        np.add(c, state, out=c)
    np.copyto(cells_NTU[:, step.number], c)
    np.tanh(c, out=c)
    np.copyto(squashed_NTU[:, step.number], c)
    np.multiply(o, c, out=state)
    store(direction, step, state)


def _backward(direction: Direction, step: Step) -> Array:
    """With dc the gradient of c', carried on as f dc."""
    units = direction.state_NU.shape[1]
    gates_NG: Array = direction.gates_NTG[:, step.number]
    i, f, g, o = gates = parts(direction.work_NG, units)
    one, two, *_ = parts(direction.recurrent_NG, units)
    cells_NTU, squashed_NTU = direction.kept_NTU
    dh, dc = direction.state_NU, direction.carry_NU
    copy_all(blocks(gates_NG, units), gates)
    add_output(direction, step, one)
    np.copyto(one, squashed_NTU[:, step.number])
    np.multiply(one, one, out=two)
    np.subtract(1, two, out=two)
    np.multiply(two, o, out=two)
    np.multiply(two, dh, out=two)
    np.add(dc, two, out=dc)
    np.multiply(one, dh, out=one)
    _through_sigmoid(o, one, two)
    np.multiply(i, dc, out=one)
    np.multiply(g, dc, out=two)
    _through_tanh(g, one, dh)
    _through_sigmoid(i, two, dh)
    one.fill(0)
    if step.before >= 0:
        np.copyto(one, cells_NTU[:, step.before])
    np.multiply(one, dc, out=one)
    np.multiply(dc, f, out=dc)
    _through_sigmoid(f, one, two)
    copy_all(gates, blocks(gates_NG, units))
    return gates_NG


def _through_sigmoid(gate: Array, gradient: Array, scratch: Array) -> None:
    """Makes of a gate its gradient s (1 - s) × gradient."""
    np.subtract(1, gate, out=scratch)
    np.multiply(gate, scratch, out=gate)
    np.multiply(gate, gradient, out=gate)


def _through_tanh(gate: Array, gradient: Array, scratch: Array) -> None:
    """Makes of a gate its gradient (1 - t²) × gradient."""
    np.multiply(gate, gate, out=scratch)
    np.subtract(1, scratch, out=gate)
    np.multiply(gate, gradient, out=gate)


CELL = Cell(
    gates=GATES,
    kept=2,
    bias_parts=GATES,
    flops_forward=17,
    flops_backward=26,
    forward=_forward,
    backward=_backward,
    biases=biases,
    gradients=gradients,
)

LSTM = operation("lstm", CELL)
