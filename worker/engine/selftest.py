"""What this process's arithmetic is: a fixed computation's hash, and the libraries' settings."""

import ctypes
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.kernels.dense_products import (
    input_gradients,
    outputs,
    room,
    weight_gradients,
)
from gradloom.worker.engine.kernels.optimizers import FAST_UPDATES, global_norm
from gradloom.worker.engine.optimizers import init, update
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key, uniform
from gradloom.worker.engine.spec import (
    Adam,
    Dense,
    Dropout,
    Gelu,
    Model,
    Relu,
    Residual,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
    Target,
)

# Rows, inner axis, columns: full tiles, remainders, one row, and inner axes that are split.
_PRODUCTS = ((48, 784, 64), (77, 100, 33), (1, 256, 10), (5, 1000, 3), (32, 64, 10))
_ROWS, _INPUTS, _CLASSES = 37, 20, 5
_MODEL = Model(
    (
        Dense(48),
        Relu(),
        Dropout(0.25),
        Residual((Dense(48), Gelu(), Dense(48), Tanh())),
        Sigmoid(),
        Dense(_CLASSES),
    )
)
_SMALLEST_NORMAL: dict[type[np.float32] | type[np.float64], float] = {
    np.float32: 2.0**-126,
    np.float64: 2.0**-1022,
}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Equal hashes mean equal bits; None where NumPy does not bundle its OpenBLAS.

    denormals is whether numbers below the smallest normal one survive in this thread.
    """

    sha256: str
    openblas_core: str | None
    threads: int | None
    denormals: bool
    numpy: str


def self_test() -> SelfTest:
    """Compute, hash, and ask the libraries how they are set; takes some milliseconds."""
    library = _openblas()
    return SelfTest(
        sha256=_hash(),
        openblas_core=_core(library) if library else None,
        threads=_threads(library) if library else None,
        denormals=all(_keeps_denormals(dtype) for dtype in _SMALLEST_NORMAL),
        numpy=np.__version__,
    )


def _hash() -> str:
    digest = hashlib.sha256()
    with np.errstate(all="ignore"):
        for result in (*_products(), *_functions(), *_training(), *_compiled()):
            digest.update(np.ascontiguousarray(result).tobytes())
    return digest.hexdigest()


def _products() -> list[Array]:
    """The three layouts of product that layers use, by BLAS and by the kernels of dense layers."""
    results = []
    for number, (rows, inner, columns) in enumerate(_PRODUCTS):
        x = _numbers(10 + number, rows, inner)
        w = _numbers(20 + number, columns, inner)
        y = x @ w.T
        results += [y, y.T @ x, y @ w]
        scratch = np.empty(room(inner, columns), np.float32)
        own_y, dw, dx = (np.empty_like(array) for array in (y, w, x))
        outputs(x, w, own_y, scratch)
        weight_gradients(y, x, dw, scratch, False)
        input_gradients(y, w, dx, scratch)
        results += [own_y, dw, dx]
    return results


def _functions() -> list[Array]:
    x = 4 * _numbers(1, 64, 65)
    size = np.abs(x)
    elementwise = [np.exp(x), np.tanh(x), np.log(size), np.sqrt(size), 1 / (1 + size)]
    return [*elementwise, np.add.reduce(x, axis=0), np.add.reduce(x, axis=1), x.sum(dtype=float)]


def _training() -> list[Array]:
    """Two steps of Adam on a small model that uses most operations."""
    target = Target("labels", classes=_CLASSES)
    plan = Plan(build_graph(_MODEL, SoftmaxCrossEntropy(), (_INPUTS,), target), _ROWS)
    plan.parameters[...] = initial_parameters(plan.graph, 1)
    plan.inputs(_ROWS)[...] = _numbers(2, _ROWS, _INPUTS)
    plan.target(_ROWS)[...] = np.arange(_ROWS) % _CLASSES
    adam = Adam(0.01)
    state = init(adam, plan.parameters)
    losses = []
    for step in (1, 2):
        losses.append(plan.value_and_grad(_ROWS, Key(1, CHECK, step=step))[1])
        arrays = (plan.parameters, state) * 2
        update(adam, plan.gradient, *arrays, learning_rate=0.01, step=step)
    return [np.array(losses), plan.gradient, plan.parameters, *state]


def _compiled() -> list[Array]:
    """What kernels make of fused multiply-adds, divisions, roots and lanes: a step and a norm."""
    adam = Adam(0.01)
    gradient, parameters = _numbers(30, 131), _numbers(31, 131)
    slots = tuple(_numbers(32 + number, 131) ** 2 for number in range(2))
    new = [np.empty_like(parameters) for _ in range(3)]
    arrays = (gradient, parameters, slots, new[0], new[1:])
    update(adam, *arrays, learning_rate=0.01, step=2, updates=FAST_UPDATES)
    return [*new, np.array(global_norm(gradient))]


def _numbers(stream: int, *shape: int) -> Array:
    count = int(np.prod(shape))
    numbers = 2 * uniform(Key(0, CHECK, layer=stream), count) - 1
    return numbers.astype(np.float32).reshape(shape)


def _keeps_denormals(dtype: type[np.float32] | type[np.float64]) -> bool:
    """Whether a denormal result is flushed, and whether a denormal input is taken for zero."""
    smallest = np.full(64, _SMALLEST_NORMAL[dtype], dtype)
    half = smallest * dtype(0.5)
    return bool(np.all(half != 0) and np.all(half * dtype(2) == smallest))


def _openblas() -> ctypes.CDLL | None:
    """The library that NumPy's wheel brought along and has loaded."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    found = sorted(folder.glob("libscipy_openblas64_*.so"))
    return ctypes.CDLL(str(found[0])) if found else None


def _core(library: ctypes.CDLL) -> str:
    function = library.scipy_openblas_get_corename64_
    function.restype = ctypes.c_char_p
    name: bytes = function()
    return name.decode("ascii")


def _threads(library: ctypes.CDLL) -> int:
    threads: int = library.scipy_openblas_get_num_threads64_()
    return threads
