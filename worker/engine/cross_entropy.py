"""The losses that apply softmax themselves: cross-entropy of labels, divergence of distributions.

N stands for rows, C for classes. A row here is one label, of which a row of the data may have
several, or one distribution.
"""

# Capital letters in names are axes.
# ruff: noqa: N803, N806, N815

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gradloom.worker.engine.arrays import Array, Buffer, Shape, size
from gradloom.worker.engine.loss import LossCall, LossRule, numbers, summed
from gradloom.worker.engine.metrics import TOP, Statistics
from gradloom.worker.engine.spec import KlDivergence, SoftmaxCrossEntropy, Target


class Work(NamedTuple):
    """The scratch of cross-entropy.

    share is what a row's label weighs, even what each class of it weighs alike; all is the sum of
    the logits, each times its class's weight. Logits are less the largest of their row.
    """

    probabilities_NC: Array
    truths_NC: Array
    log_total_N1: Array
    chosen_N1: Array
    all_N1: Array
    share_N1: Array
    even_N1: Array
    wide_N: Array
    places_N: Array
    counts_N: Array
    hits_N: Array
    kept_N: Array


def _scratch(outputs: int, target: Target) -> tuple[Buffer, ...]:
    labels = (size(target.shape),)
    table, truths = Buffer((outputs,)), Buffer((outputs,), np.bool_)
    column, whole, truth = Buffer(labels), Buffer(labels, np.int64), Buffer(labels, np.bool_)
    wide = Buffer(labels, np.float64)
    return (table, truths, *(column,) * 5, wide, whole, whole, truth, truth)


def work_of(call: LossCall[SoftmaxCrossEntropy]) -> Work:
    """The scratch arrays by their names, a line for each label."""
    labels = call.target.size
    shapes = ((labels, -1),) * 2 + ((labels, 1),) * 5 + ((labels,),) * 5
    arrays = (a.reshape(s) for a, s in zip(call.scratch, shapes, strict=True))
    return Work(*arrays)


def _logits(call: LossCall[SoftmaxCrossEntropy], array: Array) -> Array:
    return array.reshape(call.target.size, -1)


def _is_plain(loss: SoftmaxCrossEntropy) -> bool:
    """Whether all rows and classes weigh the same, and the label is the whole truth."""
    return not loss.label_smoothing and loss.ignore_index is None and not loss.class_weights


@lru_cache(maxsize=64)
def class_weights(loss: SoftmaxCrossEntropy, classes: int, dtype: np.dtype[np.generic]) -> Array:
    """What the classes weigh."""
    return np.array(loss.class_weights or (1.0,) * classes, dtype)


def _classes(target: Target) -> Shape:
    return (*target.shape, target.classes)


def _cross_entropy(call: LossCall[SoftmaxCrossEntropy]) -> Statistics:
    work = work_of(call)
    _shift(call, work)
    divisor, rows = _weigh(call, work)
    hits = _hits(call, work)
    if _is_plain(call.loss):
        chosen = summed(work.chosen_N1, work.wide_N)
        _normalize(work.probabilities_NC, work.log_total_N1)
        return divisor, summed(work.log_total_N1, work.wide_N) - chosen, rows, *hits
    classes = work.probabilities_NC.shape[1]
    weights_C = class_weights(call.loss, classes, call.output.dtype)
    np.matmul(work.probabilities_NC, weights_C, out=work.all_N1.reshape(-1))
    _normalize(work.probabilities_NC, work.log_total_N1)
    return divisor, _weighted_loss(work, float(weights_C.sum())), rows, *hits


def _shift(call: LossCall[SoftmaxCrossEntropy], work: Work) -> None:
    """Logits less their row's largest, the one of the label, and where that stands."""
    z_NC = _logits(call, call.output)
    classes = z_NC.shape[1]
    np.maximum(call.target.reshape(-1), 0, out=work.places_N)
    np.minimum(work.places_N, classes - 1, out=work.places_N)
    np.multiply(call.label_numbers, classes, out=work.counts_N)
    np.add(work.places_N, work.counts_N, out=work.places_N)
    np.maximum.reduce(z_NC, axis=1, keepdims=True, out=work.log_total_N1)
    np.subtract(z_NC, work.log_total_N1, out=work.probabilities_NC)
    _take(work.probabilities_NC, work.places_N, work.chosen_N1)


def _weigh(call: LossCall[SoftmaxCrossEntropy], work: Work) -> tuple[float, float]:
    """Fills kept, share and even; the sum of the labels' weights, and of the rows kept."""
    labels_N = call.target.reshape(-1)
    if _is_plain(call.loss):
        work.kept_N.fill(True)
        return float(labels_N.size), float(labels_N.size)
    classes, ignored = work.probabilities_NC.shape[1], call.loss.ignore_index
    # No label is -1.
    np.not_equal(labels_N, -1 if ignored is None else ignored, out=work.kept_N)
    weights_C = class_weights(call.loss, classes, call.output.dtype)
    np.take(weights_C, labels_N, mode="clip", out=work.share_N1.reshape(-1))
    kept_N1 = work.kept_N.reshape(-1, 1)
    np.multiply(work.share_N1, kept_N1, out=work.share_N1)
    divisor = summed(work.share_N1, work.wide_N)
    np.multiply(work.share_N1, 1 - call.loss.label_smoothing, out=work.share_N1)
    np.multiply(kept_N1, call.loss.label_smoothing / classes, out=work.even_N1)
    return divisor, float(np.count_nonzero(work.kept_N))


def _hits(call: LossCall[SoftmaxCrossEntropy], work: Work) -> tuple[float, ...]:
    """Rows whose label is the first of the largest, and is of the TOP largest even after ties."""
    z_NC = _logits(call, call.output)
    np.argmax(z_NC, axis=1, out=work.counts_N)
    np.equal(work.counts_N, call.target.reshape(-1), out=work.hits_N)
    np.logical_and(work.hits_N, work.kept_N, out=work.hits_N)
    correct = float(np.count_nonzero(work.hits_N))
    if z_NC.shape[1] <= TOP:
        return (correct,)
    np.greater_equal(work.probabilities_NC, work.chosen_N1, out=work.truths_NC)
    np.add.reduce(work.truths_NC, axis=1, dtype=np.int64, out=work.counts_N)
    np.less_equal(work.counts_N, TOP, out=work.hits_N)
    np.logical_and(work.hits_N, work.counts_N, out=work.hits_N)  # none where it is not a number
    np.logical_and(work.hits_N, work.kept_N, out=work.hits_N)
    return correct, float(np.count_nonzero(work.hits_N))


def _weighted_loss(work: Work, total_weight: float) -> float:
    """Σ share (log Σ exp - chosen) + even (total_weight log Σ exp - all)."""
    np.subtract(work.log_total_N1, work.chosen_N1, out=work.chosen_N1)
    np.multiply(work.chosen_N1, work.share_N1, out=work.chosen_N1)
    chosen = summed(work.chosen_N1, work.wide_N)
    np.multiply(work.log_total_N1, total_weight, out=work.chosen_N1)
    np.subtract(work.chosen_N1, work.all_N1, out=work.all_N1)
    np.multiply(work.all_N1, work.even_N1, out=work.all_N1)
    return chosen + summed(work.all_N1, work.wide_N)


def _cross_entropy_vjp(call: LossCall[SoftmaxCrossEntropy]) -> None:
    """softmax(z) - 1 at the label; with weights p (share + even Σ w) - even w, - share there."""
    work, dz_NC = work_of(call), _logits(call, call.output_gradient)
    if _is_plain(call.loss):
        np.copyto(dz_NC, work.probabilities_NC)
        work.share_N1.fill(1)
    else:
        weights_C = class_weights(call.loss, dz_NC.shape[1], dz_NC.dtype)
        np.multiply(work.even_N1, float(weights_C.sum()), out=work.chosen_N1)
        np.add(work.chosen_N1, work.share_N1, out=work.chosen_N1)
        np.multiply(work.probabilities_NC, work.chosen_N1, out=dz_NC)
        np.multiply(work.even_N1, weights_C, out=work.probabilities_NC)
        np.subtract(dz_NC, work.probabilities_NC, out=dz_NC)
    _take(dz_NC, work.places_N, work.chosen_N1)
    np.subtract(work.chosen_N1, work.share_N1, out=work.chosen_N1)
    np.put(dz_NC, work.places_N, work.chosen_N1, mode="clip")


def _take(table_NC: Array, places_N: Array, out_N1: Array) -> None:
    np.take(table_NC.reshape(-1), places_N, mode="clip", out=out_N1.reshape(-1))


def _normalize(shifted_NC: Array, log_total_N1: Array) -> None:
    """Makes probabilities of logits less their row's largest, and writes log Σ exp of these."""
    np.exp(shifted_NC, out=shifted_NC)
    np.add.reduce(shifted_NC, axis=1, keepdims=True, out=log_total_N1)
    np.divide(shifted_NC, log_total_N1, out=shifted_NC)
    np.log(log_total_N1, out=log_total_N1)


def _divergence_scratch(outputs: int, _target: Target) -> tuple[Buffer, ...]:
    """Probabilities, products, two columns as long as there are distributions, and a wide array."""
    numbers = Buffer((outputs,))
    return (numbers,) * 4 + (Buffer((outputs,), np.float64),)


def _divergence(call: LossCall[KlDivergence]) -> Statistics:
    """Σ t (log t - log softmax(z)), 0 log 0 being 0; a mean over the positions of a row."""
    z_NC, t_NC = _distributions(call, call.output), _distributions(call, call.target)
    p_NC, product_NC = (_distributions(call, array) for array in call.scratch[:2])
    total_N1, mass_N1 = _column(call, 2), _column(call, 3)
    wide = call.scratch[4]
    np.maximum(t_NC, np.finfo(t_NC.dtype).tiny, out=product_NC)
    np.log(product_NC, out=product_NC)
    np.multiply(product_NC, t_NC, out=product_NC)
    loss = summed(product_NC, wide)
    np.maximum.reduce(z_NC, axis=1, keepdims=True, out=total_N1)
    np.subtract(z_NC, total_N1, out=p_NC)
    np.multiply(p_NC, t_NC, out=product_NC)
    loss -= summed(product_NC, wide)
    _normalize(p_NC, total_N1)
    np.add.reduce(t_NC, axis=1, keepdims=True, out=mass_N1)
    np.multiply(total_N1, mass_N1, out=total_N1)
    loss += summed(total_N1, wide.reshape(-1)[: total_N1.size])
    rows = len(call.output)
    return float(rows), loss * rows / max(len(z_NC), 1)


def _divergence_vjp(call: LossCall[KlDivergence]) -> None:
    """softmax(z) Σ t - t, over the positions of a row."""
    p_NC, dz_NC = (_distributions(call, array) for array in (call.scratch[0], call.output_gradient))
    np.multiply(p_NC, _column(call, 3), out=dz_NC)
    np.subtract(dz_NC, _distributions(call, call.target), out=dz_NC)
    np.multiply(dz_NC, len(call.output) / len(dz_NC), out=dz_NC)


def _distributions(call: LossCall[KlDivergence], array: Array) -> Array:
    return array.reshape(-1, call.target.shape[-1] if call.target.ndim > 1 else 1)


def _column(call: LossCall[KlDivergence], place: int) -> Array:
    """A scratch array's beginning, one number for each distribution."""
    count = len(_distributions(call, call.target))
    return call.scratch[place].reshape(-1)[:count].reshape(count, 1)


SOFTMAX_CROSS_ENTROPY: LossRule[SoftmaxCrossEntropy] = LossRule(
    _cross_entropy, _cross_entropy_vjp, "labels", _classes, _scratch
)
KL_DIVERGENCE: LossRule[KlDivergence] = LossRule(
    _divergence, _divergence_vjp, "numbers", numbers, _divergence_scratch
)
