"""A check of gradients whose compiled tanh halves its gradient: a program for tests."""

from dataclasses import replace

import numpy as np

from gradloom.worker.engine.kernels.operations import FAST
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.spec import Tanh
from gradloom.worker.gradients import ENGINES, main


def halved(call: Call[Tanh]) -> None:
    FAST["tanh"].vjp(call)
    (dx,) = call.input_gradients
    assert dx is not None
    np.multiply(dx, 0.5, out=dx)


if __name__ == "__main__":
    numpy_engine, compiled = ENGINES
    wrong = {**FAST, "tanh": replace(FAST["tanh"], vjp=halved)}
    main((numpy_engine, replace(compiled, operations=wrong, fusions={})))
