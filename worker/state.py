"""A job's state at a step: parameters and optimiser slots, twice over.

An update reads the state of step s and writes that of step s + 1 beside it; only when it is
complete does the state stand at s + 1. Whatever happens in between, step s is whole.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.optimizers import init, segments, slots, update
from gradloom.worker.engine.spec import Optimizer
from gradloom.worker.tensor_file import metadata as metadata_of

Vector = npt.NDArray[np.float32]

_SLOT = "optimizer."
_STEP = "step"


class BadState(ValueError):
    """A snapshot that is not one of this job's."""


class State:
    """The graph's flat vector of parameters and buffers, and slots as long as the parameters."""

    def __init__(self, graph: Graph, optimizer: Optimizer, seed: int) -> None:
        """Stands at step 0 with the parameters of the seed."""
        self.step = 0
        self._graph = graph
        self._rule = optimizer.kind
        places = [(parameter.place, parameter.shape) for parameter in graph.parameters]
        self._segments = segments(optimizer, places)
        parameters = initial_parameters(graph, seed)
        self._parameters = (parameters, np.empty_like(parameters))
        self._trained = slice(0, graph.parameter_count)
        self._running = slice(graph.parameter_count, graph.vector_size)
        self._momentum = _momentum(graph)
        first = init(self._rule, parameters[self._trained])
        self._slots = (first, tuple(np.empty_like(slot) for slot in first))

    @property
    def parameters(self) -> Vector:
        """The parameters at the step, then the buffers; not to be written to."""
        return self._parameters[self._side]

    @property
    def before(self) -> Vector:
        """The parameters before the newest update; after it only, and not to be written to."""
        return self._parameters[1 - self._side]

    @property
    def _side(self) -> int:
        return self.step % 2

    def advance(self, gradient: Vector, learning_rate: float) -> None:
        """One update with the batch's mean gradient, behind which stand means for the buffers."""
        old, new = self._side, 1 - self._side
        with np.errstate(all="ignore"):
            update(
                self._rule,
                gradient[self._trained],
                self._parameters[old][self._trained],
                self._slots[old],
                self._parameters[new][self._trained],
                self._slots[new],
                learning_rate=learning_rate,
                step=self.step + 1,
                segments=self._segments,
            )
            self._run_on(gradient[self._running], old, new)
        self.step += 1

    def _run_on(self, means: Vector, old: int, new: int) -> None:
        """Buffers of the new side from those of the old one: b + momentum (mean - b)."""
        before, after = (self._parameters[side][self._running] for side in (old, new))
        np.subtract(means, before, out=after)
        np.multiply(after, self._momentum, out=after)
        np.add(before, after, out=after)

    def weights_sha256(self) -> str:
        """SHA-256 of parameters and buffers in the order of their names, little-endian float32."""
        named = self._named(self.parameters)
        digest = hashlib.sha256()
        for name in sorted(named):
            digest.update(named[name].astype("<f4", copy=False).tobytes())
        return digest.hexdigest()

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The parameters and buffers as a safetensors file, by name."""
        return save(self._named(self.parameters), {**metadata, _STEP: str(self.step)})

    def snapshot(self, metadata: Mapping[str, str]) -> bytes:
        """The whole state as a safetensors file; restore takes it back."""
        arrays = self._named(self.parameters)
        for name, slot in zip(slots(self._rule), self._slots[self._side], strict=True):
            arrays |= {f"{_SLOT}{name}.{key}": value for key, value in self._named(slot).items()}
        return save(arrays, {**metadata, _STEP: str(self.step)})

    def restore(self, content: bytes) -> None:
        """Stands where a snapshot stood. Raises BadState, and then stands where it was."""
        arrays, step = load(content), int(metadata_of(content)[_STEP])
        parameters = np.empty_like(self.parameters)
        self._read(arrays, "", parameters)
        states = [np.empty_like(slot) for slot in self._slots[self._side]]
        for name, state in zip(slots(self._rule), states, strict=True):
            self._read(arrays, f"{_SLOT}{name}.", state)
        self.step = step
        np.copyto(self._parameters[self._side], parameters)
        for slot, value in zip(self._slots[self._side], states, strict=True):
            np.copyto(slot, value)

    def _named(self, vector: Vector) -> dict[str, Vector]:
        """The arrays of a flat vector by name; without the buffers where it has none."""
        graph = self._graph
        parts = graph.parameters if vector.size == graph.parameter_count else graph.parts
        return {part.name: vector[part.place].reshape(part.shape) for part in parts}

    def _read(self, arrays: Mapping[str, Vector], prefix: str, vector: Vector) -> None:
        for name, place in self._named(vector).items():
            found = arrays.get(prefix + name)
            if found is None or found.shape != place.shape or found.dtype != np.float32:
                raise BadState(f"the snapshot has no array {prefix + name} of shape {place.shape}")
            np.copyto(place, found)


def _momentum(graph: Graph) -> Vector:
    """The momentum of each number of the buffers."""
    momenta = [np.full(buffer.size, buffer.momentum, np.float32) for buffer in graph.buffers]
    return np.concatenate(momenta) if momenta else np.empty(0, np.float32)
