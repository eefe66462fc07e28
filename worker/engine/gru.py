"""Gated recurrent unit in NumPy: r, z = σ(…), n = tanh(x̂ + r ĥ), h' = (1 - z) n + z h.

x̂ and ĥ are the new gate's products of the input and of the state, each with its bias. N stands
for rows, U for units, M for rows times steps; gates stand in PyTorch's order r, z, n.
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

GATES: Final = 3


def biases(parameters: tuple[Array, ...], bias_B: Array) -> None:
    """The sums of both biases of r and z, then that of x̂, then that of ĥ; zeros without biases."""
    bias_B.fill(0)
    if parameters:
        from_inputs, from_states = parameters
        units = len(bias_B) // 4
        both, new = slice(0, 2 * units), slice(2 * units, 3 * units)
        np.add(from_inputs[both], from_states[both], out=bias_B[both])
        np.copyto(bias_B[new], from_inputs[new])
        np.copyto(bias_B[3 * units :], from_states[new])


def gradients(direction: Direction, found: tuple[Array, ...]) -> None:
    """Of the recurrent weights and the biases."""
    dw_GU, *bias_gradients = found
    gates_MG, hidden_MU = flat(direction.gates_NTG), flat(direction.hidden_NTU)
    from_states_MU = flat(direction.kept_NTU[0])
    new = 2 * direction.state_NU.shape[1]
    np.matmul(gates_MG[:, :new].T, hidden_MU, out=dw_GU[:new])
    np.matmul(from_states_MU.T, hidden_MU, out=dw_GU[new:])
    if bias_gradients:
        from_inputs, from_states = bias_gradients
        np.add.reduce(gates_MG, axis=0, out=from_inputs)
        np.copyto(from_states[:new], from_inputs[:new])
        np.add.reduce(from_states_MU, axis=0, out=from_states[new:])


def _forward(direction: Direction, step: Step) -> None:
    units = direction.state_NU.shape[1]
    gates_NG, sums_NG = direction.gates_NTG[:, step.number], direction.recurrent_NG
    work_NG, from_state = direction.work_NG, direction.carry_NU
    *_, of_state = blocks(sums_NG, units)
    np.copyto(from_state, of_state)
    np.copyto(direction.state_NU, direction.bias_B[3 * units :])
    np.add(from_state, direction.state_NU, out=from_state)
    np.copyto(direction.kept_NTU[0][:, step.number], from_state)
    of_state.fill(0)
    for addend in (gates_NG, direction.bias_B[: 3 * units]):
        np.copyto(work_NG, addend)
        np.add(sums_NG, work_NG, out=sums_NG)
    r, z, n = gates = parts(work_NG, units)
    copy_all(blocks(sums_NG, units), gates)
    for gate in (r, z):
        sigmoid(gate, gate, direction.state_NU)
    np.multiply(from_state, r, out=from_state)
    np.add(n, from_state, out=n)
    np.tanh(n, out=n)
    copy_all(gates, blocks(gates_NG, units))
    _new_state(direction, step, gates)


def _new_state(direction: Direction, step: Step, gates: list[Array]) -> None:
    """h' as n + z (h - n)."""
    _, z, n = gates
    state = direction.state_NU
    np.copyto(state, direction.hidden_NTU[:, step.number])
    np.subtract(state, n, out=state)
    np.multiply(state, z, out=state)
    np.add(state, n, out=state)
    store(direction, step, state)


def _backward(direction: Direction, step: Step) -> Array:
    """With dh the gradient of h', carried on as z dh."""
    units = direction.state_NU.shape[1]
    gates_NG, through_NG = direction.gates_NTG[:, step.number], direction.recurrent_NG
    r, z, n = gates = parts(direction.work_NG, units)
    one, *_ = parts(through_NG, units)
    dh, carry, kept = direction.state_NU, direction.carry_NU, direction.kept_NTU[0][:, step.number]
    copy_all(blocks(gates_NG, units), gates)
    np.add(dh, carry, out=dh)
    add_output(direction, step, one)
    np.multiply(dh, z, out=carry)
    np.copyto(one, direction.hidden_NTU[:, step.number])
    np.subtract(one, n, out=one)
    np.multiply(one, carry, out=one)
    np.subtract(1, z, out=z)
    np.multiply(dh, z, out=dh)
    np.multiply(one, z, out=z)
    np.multiply(n, n, out=n)
    np.subtract(1, n, out=n)
    np.multiply(n, dh, out=n)
    dkept = dh
    np.multiply(n, r, out=dkept)
    np.copyto(one, kept)
    np.multiply(one, dkept, out=one)
    np.subtract(1, r, out=r)
    np.multiply(one, r, out=r)
    copy_all(gates, blocks(gates_NG, units))
    copy_all((r, z, dkept), blocks(through_NG, units))
    np.copyto(kept, dkept)
    return through_NG


CELL = Cell(
    gates=GATES,
    kept=1,
    bias_parts=4,
    flops_forward=15,
    flops_backward=18,
    forward=_forward,
    backward=_backward,
    biases=biases,
    gradients=gradients,
)

GRU = operation("gru", CELL)
