"""Dropout: a random mask in training, nothing outside of it."""

import numpy as np

from gradloom.worker.engine.operation import Call, Operation, like_input, per_element
from gradloom.worker.engine.random import DROPOUT as PURPOSE
from gradloom.worker.engine.random import Key, fill_kept
from gradloom.worker.engine.spec import Dropout


def _forward(call: Call[Dropout], key: Key | None) -> None:
    if key is None:
        np.copyto(call.output, call.inputs[0])
        return
    (mask,) = call.saved
    fill_kept(key.of(PURPOSE, call.number), call.layer.rate, mask)
    np.multiply(mask, 1 / (1 - call.layer.rate), out=mask)
    np.multiply(call.inputs[0], mask, out=call.output)


def _vjp(call: Call[Dropout]) -> None:
    (dx,), (mask,) = call.input_gradients, call.saved
    if dx is not None:
        np.multiply(call.output_gradient, mask, out=dx)


DROPOUT: Operation[Dropout] = Operation(
    forward=_forward, vjp=_vjp, flops=per_element(forward=2, inputs=1), saved=like_input(1)
)
