"""Specimens as whole models, with numbers to compute on."""

from dataclasses import dataclass

import numpy as np
import pytest

from gradloom.worker.engine.arrays import Array, Shape
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.spec import (
    Add,
    Concat,
    Dense,
    Flatten,
    Layer,
    MeanSquaredError,
    Model,
    ModelNode,
    Tanh,
    Target,
)
from gradloom.worker.engine.specimens import OF_SEVERAL, SPECIMENS, VECTOR


@dataclass(frozen=True, slots=True)
class Case:
    """One variant of a layer on rows of one shape; with tokens the rows are whole numbers."""

    layer: Layer
    shape: Shape
    tokens: int = 0

    @property
    def graph(self) -> Graph:
        """The layer as a whole model; one that joins gets the data twice and what it becomes."""
        if isinstance(self.layer, Add | Concat):
            return _joining(self.layer, self.shape)
        return alone((self.layer,), self.shape)

    def rows(self, count: int, seed: int = 0) -> Array:
        """Data for it."""
        return rows(self.shape, count, self.tokens, seed)


CASES = [
    pytest.param(Case(layer, shape, each.tokens), id=f"{word}-{number}-{len(shape)}")
    for word, each in SPECIMENS.items()
    for number, layer in enumerate(each.layers)
    for shape in each.shapes
]
CASES += [pytest.param(Case(layer, VECTOR), id=word) for word, layer in OF_SEVERAL.items()]


def alone(layers: tuple[Layer, ...], shape: Shape) -> Graph:
    """The layers as a model that is held to numbers of its output's shape."""
    longer = Model((*layers, Flatten(), Dense(1)))
    *_, last, _, _ = build_graph(
        longer, MeanSquaredError(), shape, Target("numbers", 0, (1,))
    ).nodes
    target = Target("numbers", shape=last.shape)
    return build_graph(Model(layers), MeanSquaredError(), shape, target)


def _joining(layer: Layer, shape: Shape) -> Graph:
    nodes = (
        ModelNode("joined", ("data", "other", "data"), (layer,)),
        ModelNode("other", ("data",), (Tanh(),)),
    )
    wide = (*shape[:-1], 3 * shape[-1]) if isinstance(layer, Concat) else shape
    model, target = Model(nodes=nodes, outputs=("joined",)), Target("numbers", shape=wide)
    return build_graph(model, MeanSquaredError(), {"data": shape}, target)


def rows(shape: Shape, count: int, tokens: int = 0, seed: int = 0) -> Array:
    """Random numbers, or tokens, in float32."""
    random = np.random.Generator(np.random.Philox(seed))
    if tokens:
        return random.integers(0, tokens, (count, *shape)).astype(np.float32)
    return random.normal(size=(count, *shape)).astype(np.float32)


def weights(graph: Graph, seed: int = 1) -> Array:
    """Random parameters and buffers, around 1 where they multiply or are variances."""
    random = np.random.Generator(np.random.Philox(seed))
    vector = 0.3 * random.normal(size=graph.vector_size)
    for part in graph.parts:
        if part.name.endswith(".running_var"):
            vector[part.place] = 0.5 + random.random(part.size)
    return vector.astype(np.float32)
