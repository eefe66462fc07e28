"""The products of a dense layer by our kernels and by BLAS, in turns, and what a core can do.

What it can do is what one tile does by itself, whose factors stay in the first cache. Every
contestant goes round several layers, so that weights come from farther away, as in training.
Answered over a pipe.
"""

import time
from collections.abc import Callable, Mapping
from itertools import cycle
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.child import Answer, serve
from gradloom.worker.engine.arrays import side_by_side
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.dense_products import (
    input_gradients,
    outputs,
    room,
    weight_gradients,
)
from gradloom.worker.engine.kernels.tiles import COLUMNS, six_lines

Matrix = npt.NDArray[np.float32]

_LAYERS = 6
_DEPTH = 256
_LINES = 6
_TILE_FLOPS = 2 * _LINES * COLUMNS * _DEPTH


@kernel
def _tiles(left: Matrix, right: Matrix, out: Matrix, count: int) -> None:
    """So many times the same tile."""
    for _ in range(count):
        six_lines(_LINES, left, 0, 1, _LINES, _DEPTH, right, 0, COLUMNS, out, 0, COLUMNS, False)


class _Layers:
    """Inputs, weights and output gradients of some layers of one shape."""

    def __init__(self, rows: int, inputs: int, units: int) -> None:
        random = np.random.Generator(np.random.Philox(0))
        self._scratch = side_by_side(1, room(inputs, units), np.float32)[0]
        self._turns = cycle(range(_LAYERS))
        self.x, self.w, self.dy = (
            [_filled(random, shape) for _ in range(_LAYERS)]
            for shape in ((rows, inputs), (units, inputs), (rows, units))
        )
        self._y, self._dx, self._dw = (
            [np.empty_like(array) for array in arrays] for arrays in (self.dy, self.x, self.w)
        )

    def forward(self) -> None:
        i = next(self._turns)
        outputs(self.x[i], self.w[i], self._y[i], self._scratch)

    def forward_by_blas(self) -> None:
        i = next(self._turns)
        np.matmul(self.x[i], self.w[i].T, out=self._y[i])

    def towards_inputs(self) -> None:
        i = next(self._turns)
        input_gradients(self.dy[i], self.w[i], self._dx[i], self._scratch)

    def towards_inputs_by_blas(self) -> None:
        i = next(self._turns)
        np.matmul(self.dy[i], self.w[i], out=self._dx[i])

    def towards_weights(self) -> None:
        i = next(self._turns)
        weight_gradients(self.dy[i], self.x[i], self._dw[i], self._scratch, False)

    def towards_weights_by_blas(self) -> None:
        i = next(self._turns)
        np.matmul(self.dy[i].T, self.x[i], out=self._dw[i])


def _filled(random: np.random.Generator, shape: tuple[int, int]) -> Matrix:
    """Numbers that begin where a cache line does."""
    array = side_by_side(1, shape[0] * shape[1], np.float32)[0].reshape(shape)
    random.standard_normal(shape, np.float32, out=array)
    return array


def products(rows: int, inputs: int, units: int, rounds: int) -> Answer:
    """GFLOP/s of each product by us and by BLAS, and of a tile alone, by round."""
    layers = _Layers(rows, inputs, units)
    flops = 2 * rows * inputs * units
    count = max(flops // _TILE_FLOPS, 1)
    left, right, out = (np.ones(_DEPTH * COLUMNS, np.float32) for _ in range(3))
    contestants: Mapping[str, tuple[Callable[[], None], int]] = {
        "core": (lambda: _tiles(left, right, out, count), count * _TILE_FLOPS),
        "forward": (layers.forward, flops),
        "forward by BLAS": (layers.forward_by_blas, flops),
        "towards inputs": (layers.towards_inputs, flops),
        "towards inputs by BLAS": (layers.towards_inputs_by_blas, flops),
        "towards weights": (layers.towards_weights, flops),
        "towards weights by BLAS": (layers.towards_weights_by_blas, flops),
    }
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, (compute, work) in contestants.items():
            began = time.perf_counter()
            compute()
            if number:  # the first round loads kernels
                found[name].append(work / (time.perf_counter() - began) / 1e9)
    core = found.pop("core")
    shares = {
        name: median(speed / most for speed, most in zip(speeds, core, strict=True))
        for name, speeds in found.items()
    }
    return {"core": median(core), "shares": shares}


if __name__ == "__main__":
    serve({"products": products})
