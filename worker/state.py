"""A job's state at a step: parameters and optimiser slots, twice over.

An update reads the state of step s and writes that of step s + 1 beside it; only when it is
complete does the state stand at s + 1. Whatever happens in between, step s is whole.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gradloom.worker.engine.arrays import Shape, side_by_side
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.kernels.optimizers import FAST_UPDATES, average, global_norm
from gradloom.worker.engine.optimizers import segments, slots, update
from gradloom.worker.engine.schedules import Plateau
from gradloom.worker.engine.spec import Optimizer, ReduceOnPlateauSchedule
from gradloom.worker.tensor_file import metadata as metadata_of

Vector = npt.NDArray[np.float32]

_SLOT = "optimizer."
_AVERAGE = "average."
_STEP = "step"
_COUNTERS = "counters"
# The path of the input of a chain; those of a model of nodes have names below it.
_DATA = "data"


class BadState(ValueError):
    """A snapshot that is not one of this job's."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What a state knows beside its vectors.

    updates are the steps that were not skipped, skipped the newest steps in a row that were.
    measured is the step of the newest validation loss that plateau has seen.
    """

    updates: int = 0
    skipped: int = 0
    measured: int = 0
    plateau: Plateau = field(default_factory=Plateau)


class State:
    """The graph's flat vector of parameters and buffers, and slots as long as the parameters.

    Where the optimiser says so, an average of the first vector too.
    """

    def __init__(
        self, graph: Graph, optimizer: Optimizer, seed: int, initial: Vector | None = None
    ) -> None:
        """Stands at step 0 with the flat vector given, else with that of the seed."""
        self.step = 0
        self.counters = Counters()
        self._graph = graph
        self._rule = optimizer.kind
        self._average = optimizer.average
        places = [(parameter.place, parameter.shape) for parameter in graph.parameters]
        self._segments = segments(optimizer, places)
        self._trained = slice(0, graph.parameter_count)
        self._running = slice(graph.parameter_count, graph.vector_size)
        self._momentum = _momentum(graph)
        self._prefixes = _prefixes(optimizer)
        self._side = 0
        self._sides = self._allocated()
        first = initial_parameters(graph, seed) if initial is None else initial
        for vector in (self.parameters, self.weights):
            np.copyto(vector, first)

    def _allocated(self) -> tuple[tuple[Vector, ...], tuple[Vector, ...]]:
        """The vectors of both sides, one for each prefix."""
        count = len(self._prefixes)
        memory = side_by_side(2 * count, self._graph.vector_size, np.float32)
        vectors = tuple(
            vector[self._trained] if prefix.startswith(_SLOT) else vector
            for prefix, vector in zip(self._prefixes * 2, memory, strict=True)
        )
        return vectors[:count], vectors[count:]

    @property
    def parameters(self) -> Vector:
        """The parameters at the step, then the buffers; not to be written to."""
        return self._sides[self._side][0]

    @property
    def weights(self) -> Vector:
        """What is measured and kept as the model: the average where there is one."""
        return self._sides[self._side][-1] if self._average else self.parameters

    def advance(self, gradient: Vector, learning_rate: float, scale: float = 1.0) -> None:
        """One update with the batch's clipped mean gradient, which is scale × gradient.

        Behind the gradient stand means for the buffers.
        """
        old, new = self._sides[self._side], self._sides[1 - self._side]
        slot_places = slice(1, 1 + len(slots(self._rule)))
        updates = self.counters.updates + 1
        with np.errstate(all="ignore"):
            update(
                self._rule,
                gradient[self._trained],
                old[0][self._trained],
                old[slot_places],
                new[0][self._trained],
                new[slot_places],
                learning_rate=learning_rate,
                step=updates,
                gradient_scale=scale,
                segments=self._segments,
                updates=FAST_UPDATES,
            )
            self._run_on(gradient[self._running], old[0], new[0])
        if self._average:
            self._go_on_averaging(self._average.decay, updates, old[-1], new)
        self.step, self._side = self.step + 1, 1 - self._side
        self.counters = replace(self.counters, updates=updates, skipped=0)

    def skip(self) -> None:
        """A step that changes nothing."""
        self.step += 1
        self.counters = replace(self.counters, skipped=self.counters.skipped + 1)

    def take_back(self, counters: Counters) -> None:
        """Has the step that was just made change nothing, given the counters before it."""
        self._side = 1 - self._side
        self.counters = replace(counters, skipped=counters.skipped + 1)

    def measured(self, step: int, loss: float, schedule: ReduceOnPlateauSchedule) -> None:
        """Takes note of the validation loss at a step; once, and only when it stands there."""
        if step == self.step != self.counters.measured:
            plateau = self.counters.plateau.after(schedule, loss)
            self.counters = replace(self.counters, measured=step, plateau=plateau)

    @property
    def is_finite(self) -> bool:
        """Whether every number of it is."""
        return all(math.isfinite(global_norm(vector)) for vector in self._sides[self._side])

    def _run_on(self, means: Vector, old: Vector, new: Vector) -> None:
        """Buffers of the new side from those of the old one: b + momentum (mean - b)."""
        before, after = old[self._running], new[self._running]
        np.subtract(means, before, out=after)
        np.multiply(after, self._momentum, out=after)
        np.add(before, after, out=after)

    def _go_on_averaging(
        self, decay: float, updates: int, old: Vector, new: tuple[Vector, ...]
    ) -> None:
        """The new average of the parameters; buffers are as they run."""
        parts = (vector[self._trained] for vector in (new[0], old, new[-1]))
        average(decay, updates, *parts)
        np.copyto(new[-1][self._running], new[0][self._running])

    def weights_sha256(self) -> str:
        """SHA-256 of what the model holds, in the order of the names, little-endian float32."""
        named = self._named(self.weights)
        digest = hashlib.sha256()
        for name in sorted(named):
            digest.update(named[name].astype("<f4", copy=False).tobytes())
        return digest.hexdigest()

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """The weights and buffers as a safetensors file, by name.

        Its metadata say what goes in and what the output is held to, so that the model can be
        built again.
        """
        shapes = {
            "inputs": json.dumps(_input_shapes(self._graph)),
            "target": json.dumps(asdict(self._graph.target)),
        }
        whole = {**metadata, **shapes, _STEP: str(self.step)}
        return save(self._named(self.weights), whole)

    def snapshot(self, metadata: Mapping[str, str]) -> bytes:
        """The whole state as a safetensors file; restore takes it back."""
        arrays = {
            prefix + name: array
            for prefix, vector in zip(self._prefixes, self._sides[self._side], strict=True)
            for name, array in self._named(vector).items()
        }
        counters = json.dumps(asdict(self.counters))
        return save(arrays, {**metadata, _STEP: str(self.step), _COUNTERS: counters})

    def restore(self, content: bytes) -> None:
        """Stands where a snapshot stood. Raises BadState, and then stands where it was."""
        try:
            arrays, metadata = load(content), metadata_of(content)
            step, counters = int(metadata[_STEP]), _counters(metadata[_COUNTERS])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise BadState(f"the snapshot cannot be read: {error}") from error
        into = self._sides[1 - self._side]
        for prefix, vector in zip(self._prefixes, into, strict=True):
            self._read(arrays, prefix, vector)
        self.step, self.counters, self._side = step, counters, 1 - self._side

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


def _prefixes(optimizer: Optimizer) -> tuple[str, ...]:
    """What the names of each vector's arrays begin with in a snapshot: the parameters first."""
    of_slots = (f"{_SLOT}{name}." for name in slots(optimizer.kind))
    return ("", *of_slots, *([_AVERAGE] if optimizer.average else []))


def _counters(text: str) -> Counters:
    values = json.loads(text)
    return Counters(**{**values, "plateau": Plateau(**values["plateau"])})


def _input_shapes(graph: Graph) -> Shape | dict[str, Shape]:
    """The shape of a row that goes in, or those of several inputs by their names."""
    if graph.inputs[0].path == _DATA:
        return graph.input_shape
    return {node.path.removeprefix(f"{_DATA}."): node.shape for node in graph.inputs}


def _momentum(graph: Graph) -> Vector:
    """The momentum of each number of the buffers."""
    momenta = [np.full(buffer.size, buffer.momentum, np.float32) for buffer in graph.buffers]
    return np.concatenate(momenta) if momenta else np.empty(0, np.float32)
