"""The first parameters, as a function of the graph and the seed."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gradloom.worker.engine.graph import Graph, Parameter
from gradloom.worker.engine.normal import Floats
from gradloom.worker.engine.random import INITIALIZE, Key, normal, uniform
from gradloom.worker.engine.spec import Initializer


def initial_parameters(graph: Graph, seed: int) -> npt.NDArray[np.float32]:
    """The flat vector before the first step; each parameter has a key of its own, its number."""
    vector = np.zeros(graph.vector_size, np.float32)
    for index, parameter in enumerate(graph.parameters):
        key = Key(seed, INITIALIZE, layer=index)
        numbers = _INITIALIZERS[parameter.initializer](key, parameter)
        vector[parameter.place] = numbers + parameter.shift
    for buffer in graph.buffers:
        vector[buffer.place] = float(buffer.initializer is Initializer.ONES)
    return vector


def _he_normal(key: Key, parameter: Parameter) -> Floats:
    return normal(key, parameter.size) * math.sqrt(_he(parameter))


def _he_uniform(key: Key, parameter: Parameter) -> Floats:
    return _uniform(key, parameter.size, _he(parameter))


def _glorot_normal(key: Key, parameter: Parameter) -> Floats:
    return normal(key, parameter.size) * math.sqrt(_glorot(parameter))


def _glorot_uniform(key: Key, parameter: Parameter) -> Floats:
    return _uniform(key, parameter.size, _glorot(parameter))


def _zeros(_key: Key, parameter: Parameter) -> Floats:
    return np.zeros(parameter.size)


def _ones(_key: Key, parameter: Parameter) -> Floats:
    return np.ones(parameter.size)


def _normal(key: Key, parameter: Parameter) -> Floats:
    """Standard deviation 0.02, whatever the fans (Radford et al., 2018)."""
    return normal(key, parameter.size) * 0.02


def _he(parameter: Parameter) -> float:
    """The variance of He et al. (2015)."""
    return 2 / parameter.fan_in


def _glorot(parameter: Parameter) -> float:
    """The variance of Glorot and Bengio (2010)."""
    return 2 / (parameter.fan_in + parameter.fan_out)


def _uniform(key: Key, count: int, variance: float) -> Floats:
    """Uniform between -√(3 variance) and √(3 variance)."""
    return (2 * uniform(key, count) - 1) * math.sqrt(3 * variance)


_INITIALIZERS: dict[Initializer, Callable[[Key, Parameter], Floats]] = {
    Initializer.HE_NORMAL: _he_normal,
    Initializer.HE_UNIFORM: _he_uniform,
    Initializer.GLOROT_NORMAL: _glorot_normal,
    Initializer.GLOROT_UNIFORM: _glorot_uniform,
    Initializer.ZEROS: _zeros,
    Initializer.ONES: _ones,
    Initializer.NORMAL: _normal,
}
