"""A look at what every layer puts out and at how its parameters move: sums first, then words.

The look is apart from training: a forward pass of its own over the same rows with the same key, in
memory of its own, operation by operation even where training computes several in one. Its sums
over rows are added up as gradients are, shard by shard in the tree, so that they do not depend on
who computed what.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import Graph, Node, Parameter
from gradloom.worker.engine.health import Health, LayerHealth, ParameterHealth
from gradloom.worker.engine.kernels.optimizers import global_norm
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key, uniform

# A number at a flat end has under 2 % (tanh) or 4 % (sigmoid) of the steepest slope left.
_SATURATED: dict[str, tuple[float, float]] = {"tanh": (0.0, 0.99), "sigmoid": (0.5, 0.49)}
# Operations that are exactly 0, and so is their slope, over a whole range of inputs.
_DYING = frozenset({"relu", "hardswish"})
# Two rows of weights this near to each other, relative to their length, are one row twice.
_TWIN_DISTANCE = 1e-4
# Operations whose parameters all have one row for each unit.
_UNITS_IN_ROWS = frozenset({"dense", "conv1d", "conv2d"})
# Sums that every node has: see _Place.
_COUNTS = 5


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the sums of one node stand in the vector.

    First how many numbers, their sum, their sum of squares, how many are saturated and how many
    not finite; then for each unit of a node that can die |sum of its outputs|.
    """

    counts: slice
    units: slice


class Observer:
    """Looks at shards of at most so many rows."""

    def __init__(self, graph: Graph, rows: int, operations: Operations = OPERATIONS) -> None:
        """The graph is one that nothing was fused in."""
        self.plan = Plan(graph, rows, operations=operations)
        self._graph = graph
        self._places = _places(graph)
        self._ones = np.ones(0, np.float32)

    def look(self, rows: int, key: Key) -> Array:
        """Sums over the rows that were put into the plan, to be added to those of other shards.

        The key is that of training, so dropout drops what it drops there.
        """
        sums = np.zeros(self._places[-1].units.stop)
        self.plan.watch(rows, key, lambda number, output: self._see(number, output, sums))
        return sums

    def _see(self, number: int, output: Array, sums: Array) -> None:
        place, node = self._places[number], self._graph.nodes[number]
        matrix = output.reshape(-1, _units(node))
        columns = self._ones_of(len(matrix)) @ matrix
        flat = matrix.reshape(-1)
        total, squares = float(np.add.reduce(columns, dtype=float)), float(flat @ flat)
        if not math.isfinite(squares):
            self._see_at_length(flat, sums[place.counts])
        else:
            sums[place.counts] = flat.size, total, squares, _saturated(node, flat), 0
        if node.operation in _DYING:
            np.abs(columns, out=columns)
            sums[place.units] = columns

    def _see_at_length(self, flat: Array, counts: Array) -> None:
        """Numbers that are not finite, or so large that float32 has no square for them."""
        finite = flat[np.isfinite(flat)].astype(float)
        missing = flat.size - finite.size
        counts[...] = flat.size, finite.sum(), finite @ finite, 0, missing

    def _ones_of(self, rows: int) -> Array:
        if rows > self._ones.size:
            self._ones = np.ones(rows, np.float32)
        return self._ones[:rows]


def _saturated(node: Node, flat: Array) -> int:
    if node.operation not in _SATURATED:
        return 0
    middle, distance = _SATURATED[node.operation]
    away = flat - np.float32(middle)
    np.abs(away, out=away)
    return int(np.count_nonzero(away > np.float32(distance)))


def _places(graph: Graph) -> tuple[_Place, ...]:
    begin = 0
    places = []
    for node in graph.nodes:
        counts = slice(begin, begin + _COUNTS)
        units = slice(counts.stop, counts.stop + _units(node) * (node.operation in _DYING))
        places.append(_Place(counts, units))
        begin = units.stop
    return tuple(places)


def _units(node: Node) -> int:
    """A unit is a place on the last axis: a neuron, a channel."""
    return node.shape[-1] if node.shape else 1


class Moves:
    """Measures a step of the parameters: gradients first, then what they led to."""

    def __init__(self, graph: Graph, gradient: Array, rows: float) -> None:
        """Takes note of the gradient before it is clipped: rows times the batch's mean."""
        self._graph = graph
        self._gradients = {
            parameter.name: _norm_and_faults(gradient[parameter.place], rows)
            for parameter in graph.parameters
        }

    def health(self, sums: Array | None, before: Array, after: Array, *, is_whole: bool) -> Health:
        """The whole report: the shards' sums, and flat vectors of the step that was made.

        sums are None where no shard was looked at.
        """
        if sums is None:
            sums = np.zeros(_places(self._graph)[-1].units.stop)
        with np.errstate(all="ignore"):
            layers = tuple(self._layers(sums, before, after, is_whole))
        return Health(layers, is_whole)

    def _layers(
        self, sums: Array, before: Array, after: Array, is_whole: bool
    ) -> Iterator[LayerHealth]:
        for node, place in zip(self._graph.nodes, _places(self._graph), strict=True):
            yield replace(
                _layer(node, place, sums),
                twins=_twins(node, before, after) if is_whole else None,
                parameters=tuple(self._parameter(each, before, after) for each in node.parameters),
            )

    def _parameter(self, parameter: Parameter, before: Array, after: Array) -> ParameterHealth:
        old, new = before[parameter.place], after[parameter.place]
        gradient_norm, faults = self._gradients[parameter.name]
        return ParameterHealth(
            name=parameter.name,
            size=parameter.size,
            weight_norm=global_norm(old),
            gradient_norm=gradient_norm,
            update_norm=global_norm(new - old),
            non_finite=faults,
        )


def _norm_and_faults(gradient: Array, rows: float) -> tuple[float, int]:
    norm = global_norm(gradient) / rows
    finite = math.isfinite(norm)
    return norm, 0 if finite else int(gradient.size - np.count_nonzero(np.isfinite(gradient)))


def _layer(node: Node, place: _Place, sums: Array) -> LayerHealth:
    numbers, total, squares, saturated, missing = (float(count) for count in sums[place.counts])
    finite, units = numbers - missing, sums[place.units]
    return LayerHealth(
        path=node.path,
        operation=node.operation,
        numbers=int(numbers),
        units=_units(node),
        mean=total / finite if finite else 0.0,
        rms=math.sqrt(squares / finite) if finite else 0.0,
        non_finite=int(missing),
        dead=float(np.count_nonzero(units == 0)) / units.size if units.size else None,
        saturated=saturated / numbers if node.operation in _SATURATED and numbers else None,
    )


def _twins(node: Node, before: Array, after: Array) -> float | None:
    """The share of units that had the weights of another and have moved as it has."""
    if node.operation not in _UNITS_IN_ROWS:
        return None
    old, new = (_rows(node, vector) for vector in (before, after))
    near = _neighbours(new)
    pairs = near[_alike(new, near) & _alike(old, near)]
    return len(np.unique(pairs)) / len(new)


def _rows(node: Node, vector: Array) -> Array:
    """A row for each unit: its weights, and its bias at the end."""
    parts = [vector[each.place].reshape(each.shape[0], -1) for each in node.parameters]
    return np.concatenate(parts, axis=1)


def _neighbours(rows: Array) -> Array:
    """Pairs of rows that may be equal, shape (pairs, 2): their products with a fixed row are."""
    marks = rows @ uniform(Key(0, CHECK), rows.shape[1]).astype(rows.dtype)
    ordered = np.argsort(marks, kind="stable")
    pairs = np.stack([ordered[:-1], ordered[1:]], axis=1)
    return pairs[_near(np.diff(marks[ordered]), rows.shape[1] ** 0.5 * np.abs(rows).max())]


def _alike(rows: Array, pairs: Array) -> Array:
    """Which pairs are one row twice, but for rounding."""
    left, right = rows[pairs[:, 0]], rows[pairs[:, 1]]
    lengths = np.linalg.norm(left, axis=1) + np.linalg.norm(right, axis=1)
    return _near(np.linalg.norm(left - right, axis=1), lengths)


def _near(distance: Array, scale: Array) -> Array:
    near: Array = distance <= _TWIN_DISTANCE * scale
    return near
