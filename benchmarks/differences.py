"""A gradient against central differences, measured in a process with the pinned arithmetic."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.child import Answer, serve
from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.gradient_check import fill_rows
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.kernels.losses import FAST_RULES
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key
from gradloom.worker.engine.spec import Dense, Model, SoftmaxCrossEntropy, Tanh, Target

ROWS = 32
_CLASSES = 10
_KEY = Key(0, CHECK)
_DISTANCE = 1e-3
# Up to so many parameters the differences are taken, not only estimated.
_MOST_TAKEN = 12_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What the gradient of a model with so many parameters takes, in milliseconds.

    Central differences are estimated as 2 × parameters forward passes; taken is what all of them
    really took, for models small enough. ratio is the estimate over the gradient.
    """

    parameters: int
    forward_ms: float
    gradient_ms: float
    differences_ms: float
    differences_taken_ms: float | None
    ratio: float


def network(parameters: int) -> Graph:
    """Some inputs, two hidden layers as wide, ten classes: about so many parameters."""
    # 2 w² + 12 w + 10 parameters at width w.
    width = round(math.sqrt(parameters / 2 + 4) - 3)
    layers = (Dense(width), Tanh(), Dense(width), Tanh(), Dense(_CLASSES))
    target = Target("labels", classes=_CLASSES)
    return build_graph(Model(layers), SoftmaxCrossEntropy(), (width,), target)


def cost(parameters: int, seconds: float) -> Answer:
    """Measures forward pass and gradient in turn for about so many seconds."""
    plan = _plan(network(parameters))
    forward, gradient = _paired(
        lambda: plan.evaluate(ROWS), lambda: plan.value_and_grad(ROWS, _KEY), seconds
    )
    count = plan.graph.parameter_count
    return asdict(
        Cost(
            parameters=count,
            forward_ms=1e3 * forward,
            gradient_ms=1e3 * gradient,
            differences_ms=1e3 * 2 * count * forward,
            differences_taken_ms=1e3 * _differences(plan) if count <= _MOST_TAKEN else None,
            ratio=2 * count * forward / gradient,
        )
    )


def _plan(graph: Graph) -> Plan:
    plan = Plan(fuse(graph, FUSIONS), ROWS, operations=FAST, losses=FAST_RULES)
    fill_rows(plan, ROWS, seed=0)
    plan.parameters[...] = initial_parameters(graph, 0)
    return plan


def _paired(
    first: Callable[[], object], second: Callable[[], object], seconds: float
) -> tuple[float, float]:
    """Median seconds of two functions that take turns, after each has run once."""
    first(), second()
    times: list[tuple[float, float]] = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends or len(times) < 3:
        times.append((_timed(first), _timed(second)))
    return median(a for a, _ in times), median(b for _, b in times)


def _timed(function: Callable[[], object]) -> float:
    """Seconds of the processor, so that it matters little what else runs on the machine."""
    began = time.process_time()
    function()
    return time.process_time() - began


def _differences(plan: Plan) -> float:
    """Seconds to take the central differences of all parameters."""
    began = time.process_time()
    for place in range(plan.graph.parameter_count):
        middle = plan.parameters[place]
        plan.parameters[place] = middle + _DISTANCE
        above = plan.evaluate(ROWS)[1]
        plan.parameters[place] = middle - _DISTANCE
        below = plan.evaluate(ROWS)[1]
        plan.parameters[place] = middle
        plan.gradient[place] = (above - below) / (2 * _DISTANCE)
    return time.process_time() - began


if __name__ == "__main__":
    serve({"cost": cost})
