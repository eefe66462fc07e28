"""What a worker does while nobody waits for it: typical small jobs, which load their kernels."""

import logging
from collections.abc import Callable, Iterator

from gradloom.worker.engine.kernels.compiler import compilations
from gradloom.worker.warmup import Trial, WarmupFailed, train, trials

log = logging.getLogger(__name__)

# One small job of each of these names; together they take a second or two, and spare the first
# job of a worker about a tenth of one.
TYPICAL = frozenset(
    {
        "dropout",
        "dense_relu",
        "dense_gelu",
        "dense_add",
        "conv2d",
        "batch_norm_relu",
        "batch_norm_relu_max_pool",
        "global_average_pool",
        "embedding",
        "layer_norm",
        "transformer_block",
        "softmax_cross_entropy",
        "mean_squared_error",
        "adam",
        "adamw",
        "sgd",
    }
)


def rehearse(is_wanted: Callable[[], bool]) -> int:
    """Trains typical small jobs until somebody wants the worker; how many it came to.

    It stops where kernels are not at hand, but would have to be compiled: that would keep CPUs
    from those who train.
    """
    count, before = 0, compilations().compiled
    try:
        for trial in _typical():
            if is_wanted() or compilations().compiled > before:
                break
            train(trial)
            count += 1
    except (WarmupFailed, OSError) as error:
        log.warning("rehearsal ended early: %s", error)
    return count


def _typical() -> Iterator[Trial]:
    waiting = set(TYPICAL)
    for trial in trials():
        if trial.name in waiting:
            waiting.remove(trial.name)
            yield trial
