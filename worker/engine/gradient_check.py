"""Proof of a graph's gradients: float64 central differences against the vjp walk."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gradloom.worker.engine.arrays import Array, size
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.losses import RULES, Rules
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key, normal, permutation, uniform, words
from gradloom.worker.engine.spec import Target

# A gradient is right where its error is smaller.
TOLERANCE = 1e-6

# Distances to both sides. The smaller ones are for the rare element that stands next to a kink:
# a wrong gradient is wrong at all of them, a kink is crossed at one or two.
_DISTANCES = (1e-5, 1e-6, 1e-7, 1e-8)
# At a distance with an error as small as this no other is tried.
_GOOD_ENOUGH = TOLERANCE / 10
# Gradients smaller than this, times the loss where that is more than 1, are held to it: below it a
# difference of two losses is all rounding. So is a bias before a batch norm, which changes nothing.
_SMALLEST_SCALE = 1e-4


@dataclass(frozen=True, slots=True)
class GradientError:
    """A parameter, "data", or "data.NAME" of a named input; its error over its largest element.

    Of its elements so many were tried.
    """

    name: str
    relative_error: float
    elements: int = 0


def check_gradients(
    graph: Graph,
    *,
    rows: int = 3,
    seed: int = 0,
    most_elements: int = 64,
    operations: Operations = OPERATIONS,
    losses: Rules = RULES,
    tried: Callable[[], None] = lambda: None,
) -> tuple[GradientError, ...]:
    """The error of every parameter and of the input, on random data, dropout masks fixed.

    Of larger arrays most_elements are tried, chosen by the seed; tried is called after each. Token
    numbers have no gradient: an input that holds them is not tried.
    """
    plan = Plan(graph, rows, np.float64, input_gradient=True, operations=operations, losses=losses)
    fill_rows(plan, rows, seed)
    plan.parameters[...] = random_parameters(plan.graph, seed)
    key = Key(seed, CHECK)
    loss = plan.value_and_grad(rows, key)[1]
    smallest = _SMALLEST_SCALE * _larger(1.0, abs(loss))
    arrays = _checked_arrays(plan)
    return tuple(
        GradientError(
            name,
            _error(_Trial(plan, key, smallest), values, gradient, most_elements, tried),
            min(values.size, most_elements),
        )
        for name, values, gradient in arrays
    )


def _checked_arrays(plan: Plan) -> list[tuple[str, Array, Array]]:
    """Names, values as the plan reads them, and copies of their gradients, all in one line."""
    inputs = zip(plan.graph.inputs, plan.all_inputs(plan.rows), strict=True)
    data = [
        (node.path, values.reshape(-1), plan.input_gradient(plan.rows, place).reshape(-1).copy())
        for place, (node, values) in enumerate(inputs)
        if not plan.graph.choices(place)
    ]
    parameters = [
        (parameter.name, plan.parameters[parameter.place], plan.gradient[parameter.place].copy())
        for parameter in plan.graph.parameters
    ]
    return [*data, *parameters]


def fill_rows(plan: Plan, rows: int, seed: int) -> None:
    """Random data and answers; no number of the data is zero but where it numbers tokens."""
    target, answers = Key(seed, CHECK, step=1, layer=1), plan.target(rows)
    for place, inputs in enumerate(plan.all_inputs(rows)):
        away = normal(Key(seed, CHECK, step=1, shard=place), inputs.size)
        inputs[...] = (away + np.copysign(0.1, away)).reshape(inputs.shape)
        choices = plan.graph.choices(place)
        if choices:
            found = words(Key(seed, CHECK, step=1, shard=place), inputs.size) % np.uint64(choices)
            inputs[...] = found.reshape(inputs.shape)
    answers[...] = _answers(target, plan.graph.target, rows).reshape(answers.shape)


def _answers(key: Key, target: Target, rows: int) -> Array:
    """Random answers, a row of numbers for each row."""
    if target.kind == "joint":
        columns = [
            _answers(replace(key, shard=place), part, rows)
            for place, part in enumerate(target.parts)
        ]
        return np.concatenate(columns, axis=1)
    count = rows * size(target.shape)
    if target.kind == "labels":
        labels = words(key, count) % np.uint64(target.classes)
        return labels.reshape(rows, -1).astype(np.int64)
    return uniform(key, count).reshape(rows, -1)


def random_parameters(graph: Graph, seed: int) -> Array:
    """A flat vector of float64 whose parameters are random, none of them zero."""
    vector = initial_parameters(graph, seed).astype(np.float64)
    trained = vector[: graph.parameter_count]
    trained += 0.1 * normal(Key(seed, CHECK, step=1, layer=2), trained.size)
    return vector


@dataclass(frozen=True, slots=True)
class _Trial:
    """A plan with its rows put in, the key it is run with, and the smallest scale of errors."""

    plan: Plan
    key: Key
    smallest: float


def _error(
    trial: _Trial, values: Array, gradient: Array, most: int, tried: Callable[[], None]
) -> float:
    plan, key = trial.plan, trial.key
    scale, worst = max(float(np.abs(gradient).max(initial=0)), trial.smallest), 0.0
    for place in permutation(Key(key.seed, CHECK, step=2), values.size)[:most]:
        expected = float(gradient[place])
        slope = _best_slope(plan, key, values, place, expected, scale * _GOOD_ENOUGH)
        worst, scale = _larger(worst, abs(slope - expected)), max(scale, abs(slope))
        tried()
    return worst / scale


def _larger(left: float, right: float) -> float:
    """The larger number; NaN is larger than any."""
    return left if left >= right or math.isnan(left) else right


def _best_slope(
    plan: Plan, key: Key, values: Array, place: int, expected: float, enough: float
) -> float:
    """The slope at the distance where it comes nearest to what is expected."""
    best = math.inf
    for distance in _DISTANCES:
        slope = _slope(plan, key, values, place, distance)
        if not abs(slope - expected) >= abs(best - expected):
            best = slope
        if abs(best - expected) <= enough:
            break
    return best


def _slope(plan: Plan, key: Key, values: Array, place: int, distance: float) -> float:
    middle = values[place]
    values[place] = middle + distance
    above = plan.evaluate(plan.rows, key)[1]
    values[place] = middle - distance
    below = plan.evaluate(plan.rows, key)[1]
    values[place] = middle
    return (above - below) / (2 * distance)
