"""Cross-entropy with its gradient and its metrics in one pass over the logits, unless smoothed.

N stands for labels, C for classes.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806

from dataclasses import replace

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.cross_entropy import SOFTMAX_CROSS_ENTROPY as TWIN
from gradloom.worker.engine.cross_entropy import class_weights, work_of
from gradloom.worker.engine.kernels.compiler import kernel
from gradloom.worker.engine.kernels.exponential import exp
from gradloom.worker.engine.kernels.reductions import largest, total
from gradloom.worker.engine.loss import LossCall, LossRule, summed
from gradloom.worker.engine.metrics import TOP, Statistics
from gradloom.worker.engine.spec import SoftmaxCrossEntropy

# No label is less than 0.
_NONE = -1


@kernel
def _pass(
    z_NC: Array,
    labels_N: Array,
    weights_C: Array,
    ignored: int,
    dz_NC: Array,
    total_N: Array,
    logs_N: Array,
    chosen_N: Array,
) -> tuple[float, float, float, float]:
    """Writes the gradient, and of a label's loss logs × log(total) - chosen the three numbers.

    Gives the sum of the weights, and counts of labels that count, are found, and nearly so.
    """
    N, C = z_NC.shape
    divisor = kept = found = near = 0.0
    for n in range(N):
        z, dz = z_NC[n], dz_NC[n]
        label = min(max(labels_N[n], 0), C - 1)
        counts = labels_N[n] != ignored
        weight = weights_C[label] if counts else type(z[0])(0)
        top = largest(z)
        for c in range(C):
            dz[c] = z[c] - top
        logs_N[n], chosen_N[n] = weight, weight * dz[label]
        first = at_least = 0
        for c in range(C):
            at_least += z[c] >= z[label]
        for c in range(label):
            first += z[c] >= z[label]
        for c in range(C):
            dz[c] = exp(dz[c])
        total_N[n] = total(dz)
        slope = weight / total_N[n]
        for c in range(C):
            dz[c] = dz[c] * slope
        dz[label] -= weight
        if counts:
            divisor += weight
            kept += 1
            found += first == 0 and z[label] == top
            near += 0 < at_least <= TOP
    return divisor, kept, found, near


def _forward(call: LossCall[SoftmaxCrossEntropy]) -> Statistics:
    work, loss = work_of(call), call.loss
    if loss.label_smoothing:
        return TWIN.forward(call)
    classes = work.probabilities_NC.shape[1]
    logs_N, chosen_N, total_N = (
        array.reshape(-1) for array in (work.share_N1, work.chosen_N1, work.log_total_N1)
    )
    divisor, kept, found, near = _pass(
        call.output.reshape(-1, classes),
        call.target.reshape(-1),
        class_weights(loss, classes, call.output.dtype),
        _NONE if loss.ignore_index is None else loss.ignore_index,
        call.output_gradient.reshape(-1, classes),
        total_N,
        logs_N,
        chosen_N,
    )
    np.log(total_N, out=total_N)
    np.multiply(total_N, logs_N, out=total_N)
    value = summed(total_N, work.wide_N) - summed(chosen_N, work.wide_N)
    hits = (found, near) if classes > TOP else (found,)
    return divisor, value, kept, *hits


def _vjp(call: LossCall[SoftmaxCrossEntropy]) -> None:
    """Without smoothing, the gradient is there already."""
    if call.loss.label_smoothing:
        TWIN.vjp(call)


SOFTMAX_CROSS_ENTROPY: LossRule[SoftmaxCrossEntropy] = replace(TWIN, forward=_forward, vjp=_vjp)
