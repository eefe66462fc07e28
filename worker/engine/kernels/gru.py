"""Gated recurrent unit with the gates of a step in one compiled loop.

N stands for rows, T for steps, U for units, G for the numbers of all gates, S for the steps put
out. Every inner loop has few arrays, or their overlaps would take too many tests to vectorise.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from dataclasses import replace

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.gru import CELL
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.squashing import add_and_squash, tanh
from gradloom.worker.engine.recurrent import Direction, Step, operation


@kernel
def _forward_kernel(
    gates_NTG: Array,
    sums_NG: Array,
    bias_B: Array,
    kept_NTU: Array,
    hidden_NTU: Array,
    state_NU: Array,
    output_NSU: Array,
    first: int,
    step: int,
    after: int,
    place: int,
) -> None:
    N, _, U = kept_NTU.shape
    for row in range(N):
        g, s = gates_NTG[row, step], sums_NG[row]
        kept, h, new = kept_NTU[row, step], hidden_NTU[row, step], state_NU[row]
        # Slices, since a loop that begins elsewhere than at 0 does not vectorise.
        n_U, n_bias, state_bias = g[2 * U :], bias_B[2 * U : 3 * U], bias_B[3 * U :]
        add_and_squash(g[: 2 * U], s[: 2 * U], bias_B[: 2 * U])
        for u in range(U):
            kept[u] = s[2 * U + u] + state_bias[u]
        for u in range(U):
            n_U[u] = tanh(n_U[u] + n_bias[u] + g[u] * kept[u])
        for u in range(U):
            n = g[2 * U + u]
            new[u] = n + g[U + u] * (h[u] - n)
        if after >= 0:
            later = hidden_NTU[row, after]
            for u in range(U):
                later[u] = new[u]
        if place >= 0:
            y = output_NSU[row, place]
            for u in range(U):
                y[first + u] = new[u]


@kernel
def _backward_kernel(
    gates_NTG: Array,
    through_NG: Array,
    kept_NTU: Array,
    hidden_NTU: Array,
    dh_NU: Array,
    carry_NU: Array,
    dy_NSU: Array,
    first: int,
    step: int,
    place: int,
) -> None:
    N, _, U = kept_NTU.shape
    for row in range(N):
        g, through = gates_NTG[row, step], through_NG[row]
        kept, h = kept_NTU[row, step], hidden_NTU[row, step]
        dh, carry = dh_NU[row], carry_NU[row]
        one = gates_NTG.dtype.type(1)
        if place >= 0:
            dy = dy_NSU[row, place]
            for u in range(U):
                dh[u] += dy[first + u]
        for u in range(U):
            dh[u] += carry[u]
            carry[u] = dh[u] * g[U + u]
        for u in range(U):
            z, n = g[U + u], g[2 * U + u]
            g[U + u] = dh[u] * (h[u] - n) * z * (one - z)
            g[2 * U + u] = dh[u] * (one - z) * (one - n * n)
        for u in range(U):
            r, dn = g[u], g[2 * U + u]
            g[u] = dn * kept[u] * r * (one - r)
            kept[u] = dn * r
        for u in range(2 * U):
            through[u] = g[u]
        for u in range(U):
            through[2 * U + u] = kept[u]


def _forward(direction: Direction, step: Step) -> None:
    _forward_kernel(
        direction.gates_NTG,
        direction.recurrent_NG,
        direction.bias_B,
        direction.kept_NTU[0],
        direction.hidden_NTU,
        direction.state_NU,
        direction.output_NSU,
        direction.first,
        step.number,
        step.after,
        step.place,
    )


def _backward(direction: Direction, step: Step) -> Array:
    _backward_kernel(
        direction.gates_NTG,
        direction.recurrent_NG,
        direction.kept_NTU[0],
        direction.hidden_NTU,
        direction.state_NU,
        direction.carry_NU,
        direction.output_NSU,
        direction.first,
        step.number,
        step.place,
    )
    return direction.recurrent_NG


GRU = operation("gru", replace(CELL, forward=_forward, backward=_backward))
