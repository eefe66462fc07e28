"""Long short-term memory with the gates of a step in one compiled loop.

N stands for rows, T for steps, U for units, G for the numbers of all gates, S for the steps put
out. Every inner loop has few arrays, or their overlaps would take too many tests to vectorise.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from dataclasses import replace

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.squashing import add_and_squash, tanh
from gradloom.worker.engine.lstm import CELL
from gradloom.worker.engine.recurrent import Direction, Step, operation


@kernel
def _forward_kernel(
    gates_NTG: Array,
    sums_NG: Array,
    bias_G: Array,
    cells_NTU: Array,
    squashed_NTU: Array,
    hidden_NTU: Array,
    output_NSU: Array,
    first: int,
    step: int,
    before: int,
    after: int,
    place: int,
) -> None:
    N, _, U = cells_NTU.shape
    for row in range(N):
        g, s = gates_NTG[row, step], sums_NG[row]
        c, squashed = cells_NTU[row, step], squashed_NTU[row, step]
        # Slices, since a loop that begins elsewhere than at 0 does not vectorise.
        new, new_sum, new_bias = g[2 * U : 3 * U], s[2 * U : 3 * U], bias_G[2 * U : 3 * U]
        add_and_squash(g[: 2 * U], s[: 2 * U], bias_G[: 2 * U])
        add_and_squash(g[3 * U :], s[3 * U :], bias_G[3 * U :])
        for u in range(U):
            new[u] = tanh(new[u] + new_sum[u] + new_bias[u])
        if before >= 0:
            last = cells_NTU[row, before]
            for u in range(U):
                c[u] = g[U + u] * last[u] + g[u] * g[2 * U + u]
        else:
            for u in range(U):
                c[u] = g[u] * g[2 * U + u]
        for u in range(U):
            squashed[u] = tanh(c[u])
        if after >= 0:
            h = hidden_NTU[row, after]
            for u in range(U):
                h[u] = g[3 * U + u] * squashed[u]
        if place >= 0:
            y = output_NSU[row, place]
            for u in range(U):
                y[first + u] = g[3 * U + u] * squashed[u]


@kernel
def _backward_kernel(
    gates_NTG: Array,
    cells_NTU: Array,
    squashed_NTU: Array,
    dh_NU: Array,
    dc_NU: Array,
    dy_NSU: Array,
    first: int,
    step: int,
    before: int,
    place: int,
) -> None:
    N, _, U = cells_NTU.shape
    for row in range(N):
        g, squashed = gates_NTG[row, step], squashed_NTU[row, step]
        dh, dc = dh_NU[row], dc_NU[row]
        one = gates_NTG.dtype.type(1)
        if place >= 0:
            dy = dy_NSU[row, place]
            for u in range(U):
                dh[u] += dy[first + u]
        for u in range(U):
            t = squashed[u]
            dc[u] += dh[u] * g[3 * U + u] * (one - t * t)
        for u in range(U):
            o = g[3 * U + u]
            g[3 * U + u] = dh[u] * squashed[u] * o * (one - o)
        for u in range(U):
            i, new = g[u], g[2 * U + u]
            g[u] = dc[u] * new * i * (one - i)
            g[2 * U + u] = dc[u] * i * (one - new * new)
        if before >= 0:
            last = cells_NTU[row, before]
            for u in range(U):
                f = g[U + u]
                g[U + u] = dc[u] * last[u] * f * (one - f)
                dc[u] *= f
        else:
            for u in range(U):
                g[U + u] = 0


def _forward(direction: Direction, step: Step) -> None:
    cells_NTU, squashed_NTU = direction.kept_NTU
    _forward_kernel(
        direction.gates_NTG,
        direction.recurrent_NG,
        direction.bias_B,
        cells_NTU,
        squashed_NTU,
        direction.hidden_NTU,
        direction.output_NSU,
        direction.first,
        step.number,
        step.before,
        step.after,
        step.place,
    )


def _backward(direction: Direction, step: Step) -> Array:
    cells_NTU, squashed_NTU = direction.kept_NTU
    _backward_kernel(
        direction.gates_NTG,
        cells_NTU,
        squashed_NTU,
        direction.state_NU,
        direction.carry_NU,
        direction.output_NSU,
        direction.first,
        step.number,
        step.before,
        step.place,
    )
    through_NG: Array = direction.gates_NTG[:, step.number]
    return through_NG


LSTM = operation("lstm", replace(CELL, forward=_forward, backward=_backward))
