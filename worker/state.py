"""A job's state at a step: parameters and optimiser slots, twice over.

An update reads the state of step s and writes that of step s + 1 beside it, block by block; only
when it is complete does the state stand at s + 1. Whatever happens in between, step s is whole,
and until the next update begins the state can go back to it. The vectors may be memory that
several processes share, each of which writes other blocks.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gradloom.worker.engine.arrays import Shape, side_by_side
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.kernels.optimizers import FAST_UPDATES, average, global_norm
from gradloom.worker.engine.optimizers import (
    Segment,
    needs_whole_parameters,
    segments,
    slots,
    update,
)
from gradloom.worker.engine.schedules import Plateau
from gradloom.worker.engine.spec import Optimizer, ReduceOnPlateauSchedule
from gradloom.worker.tensor_file import metadata as metadata_of

Vector = npt.NDArray[np.float32]

_SLOT = "optimizer."
_AVERAGE = "average."
_STEP = "step"
_COUNTERS = "counters"
# Elements that are summed and updated at a time: what is read and written stays in the caches, and
# a call costs little beside it.
WORK = 1 << 18
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


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a state stands: the step, which of its two sides holds it, and what it counts."""

    step: int
    side: int
    counters: Counters


def vector_count(optimizer: Optimizer) -> int:
    """How many vectors of memory, each as long as the graph's flat one, a state takes."""
    return 2 * len(_prefixes(optimizer))


def newest_standings(standings: Iterable[str]) -> str:
    """Of what states that share their memory say, what one says that stands furthest on."""

    def step(each: str) -> int:
        now, _ = json.loads(each)
        return now["step"] if now else -1

    return max(standings, key=step)


def rehearse_update(optimizer: Optimizer) -> None:
    """One update of a few elements, so that its kernels are loaded."""
    vectors = side_by_side(1 + 2 * (1 + len(slots(optimizer.kind))), 8, np.float32)
    gradient, parameters, new_parameters, *others = vectors
    half = len(others) // 2
    update(
        optimizer.kind,
        gradient,
        parameters,
        others[:half],
        new_parameters,
        others[half:],
        learning_rate=0.0,
        step=1,
        updates=FAST_UPDATES,
    )
    if optimizer.average:
        average(0.0, 1, *vectors[:3])


class State:
    """The graph's flat vector of parameters and buffers, and slots as long as the parameters.

    Where the optimiser says so, an average of the first vector too.
    """

    def __init__(
        self,
        graph: Graph,
        optimizer: Optimizer,
        seed: int,
        initial: Vector | None = None,
        vectors: tuple[Vector, ...] | None = None,
    ) -> None:
        """Stands at step 0 with the flat vector given, else with that of the seed.

        In memory that is given, vector_count vectors, it stands nowhere until begin, restore or
        adopt.
        """
        self._graph = graph
        self._rule = optimizer.kind
        self._average = optimizer.average
        places = [(parameter.place, parameter.shape) for parameter in graph.parameters]
        self._segments = segments(optimizer, places)
        self._segments_of: dict[tuple[int, int], tuple[Segment, ...]] = {}
        self._needs_whole = needs_whole_parameters(optimizer.kind)
        self._trained = slice(0, graph.parameter_count)
        self._running = slice(graph.parameter_count, graph.vector_size)
        self._momentum = _momentum(graph)
        self._prefixes = _prefixes(optimizer)
        self._standing: Standing | None = None
        self._before: Standing | None = None
        memory = vectors or side_by_side(vector_count(optimizer), graph.vector_size, np.float32)
        self._sides = self._divided(memory)
        if vectors is None:
            self.begin(initial_parameters(graph, seed) if initial is None else initial)

    def _divided(self, memory: tuple[Vector, ...]) -> tuple[tuple[Vector, ...], tuple[Vector, ...]]:
        """The vectors of both sides, one for each prefix."""
        count = len(self._prefixes)
        vectors = tuple(
            vector[self._trained] if prefix.startswith(_SLOT) else vector
            for prefix, vector in zip(self._prefixes * 2, memory, strict=True)
        )
        return vectors[:count], vectors[count:]

    def begin(self, initial: Vector) -> None:
        """Stands at step 0 with a flat vector; slots are zero."""
        for prefix, vector in zip(self._prefixes, self._sides[0], strict=True):
            np.copyto(vector, 0 if prefix.startswith(_SLOT) else initial)
        self._standing, self._before = Standing(0, 0, Counters()), None

    @property
    def stands(self) -> bool:
        """Whether it stands anywhere."""
        return self._standing is not None

    @property
    def _at(self) -> Standing:
        if self._standing is None:
            raise BadState("the state stands nowhere yet")
        return self._standing

    @property
    def step(self) -> int:
        """Updates so far, skipped ones included."""
        return self._at.step

    @property
    def counters(self) -> Counters:
        """What it counts at its step."""
        return self._at.counters

    @property
    def _side(self) -> int:
        return self._at.side

    def standings(self) -> str:
        """Where it stands and where it could go back to, for those that share its memory."""
        return json.dumps([each and asdict(each) for each in (self._standing, self._before)])

    def adopt(self, standings: str) -> None:
        """Stands where another one that shares the memory does."""
        self._standing, self._before = (
            each and Standing(each["step"], each["side"], _counters_of(each["counters"]))
            for each in json.loads(standings)
        )

    def copy(self, other: "State") -> None:
        """Stands where another state of the same job stands."""
        for mine, theirs in zip(self._sides[0], other._sides[other._side], strict=True):
            np.copyto(mine, theirs)
        self._standing, self._before = replace(other._at, side=0), None

    def stand_at(self, step: int) -> None:
        """Goes back to the step before, where that is the step asked for.

        Raises BadState where it stands at neither.
        """
        if self._before is not None and step == self._before.step:
            self._standing, self._before = self._before, None
        if step != self.step:
            raise BadState(f"the state stands at step {self.step}, not {step}")

    @property
    def parameters(self) -> Vector:
        """The parameters at the step, then the buffers; not to be written to."""
        return self._sides[self._side][0]

    @property
    def weights(self) -> Vector:
        """What is measured and kept as the model: the average where there is one."""
        return self._sides[self._side][-1] if self._average else self.parameters

    def advance(
        self, gradient: Vector, learning_rate: float, scale: float = 1.0, rows: float = 1.0
    ) -> None:
        """One whole update, with the sum of a batch's gradients; see write."""
        self.write(slice(0, self._graph.vector_size), gradient, learning_rate, scale, rows)
        self.commit()

    def blocks(self, place: slice) -> Iterator[slice]:
        """How to cut a place of the flat vector into blocks for write.

        A rule that needs whole parameters has those that begin in the place; the others' blocks
        begin at multiples of the block of the global norm where the place does.
        """
        if self._needs_whole:
            yield from (
                parameter.place
                for parameter in self._graph.parameters
                if place.start <= parameter.place.start < place.stop
            )
            place = slice(max(place.start, self._running.start), place.stop)
        for start in range(place.start, place.stop, WORK):
            yield slice(start, min(start + WORK, place.stop))

    @property
    def needs_whole(self) -> bool:
        """Whether blocks may reach beyond their place."""
        return self._needs_whole

    def write(
        self,
        block: slice,
        gradient: Vector,
        learning_rate: float,
        scale: float = 1.0,
        rows: float = 1.0,
    ) -> None:
        """The next step's elements of a block; commit, when all are written, stands there.

        gradient is the block's, as long as it; scale × gradient is the clipped mean of the batch.
        What stands behind the parameters are sums over so many rows for the buffers.
        """
        if gradient.shape != (block.stop - block.start,):
            raise ValueError(f"a gradient of shape {gradient.shape} for {block}")
        old, new = self._sides[self._side], self._sides[1 - self._side]
        count = self._trained.stop
        trained = slice(block.start, min(block.stop, count))
        running = slice(max(block.start, count), block.stop)
        if trained.start < trained.stop:
            part = gradient[: trained.stop - trained.start]
            self._update(trained, part, old, new, learning_rate, scale)
        if running.start < running.stop:
            self._run_on(running, gradient[running.start - block.start :], old[0], new[0], rows)
        if self._average:
            self._go_on_averaging(self._average.decay, trained, running, old[-1], new)

    def _update(
        self,
        place: slice,
        gradient: Vector,
        old: tuple[Vector, ...],
        new: tuple[Vector, ...],
        learning_rate: float,
        scale: float,
    ) -> None:
        slot_places = slice(1, 1 + len(slots(self._rule)))
        with np.errstate(all="ignore"):
            update(
                self._rule,
                gradient,
                old[0][place],
                [slot[place] for slot in old[slot_places]],
                new[0][place],
                [slot[place] for slot in new[slot_places]],
                learning_rate=learning_rate,
                step=self.counters.updates + 1,
                gradient_scale=scale,
                segments=self._segments_within(place),
                updates=FAST_UPDATES,
            )

    def _segments_within(self, place: slice) -> tuple[Segment, ...]:
        """The segments' parts in a place, counted from its beginning."""
        key = (place.start, place.stop)
        if key not in self._segments_of:
            self._segments_of[key] = tuple(
                Segment(slice(first - place.start, last - place.start), segment.decays)
                for segment in self._segments
                for first, last in [_overlap(segment.place, place)]
                if first < last
            )
        return self._segments_of[key]

    def commit(self) -> None:
        """Stands at the next step, all of whose elements are written."""
        at = self._at
        counters = replace(at.counters, updates=at.counters.updates + 1, skipped=0)
        self._standing, self._before = Standing(at.step + 1, 1 - at.side, counters), at

    def skip(self) -> None:
        """A step that changes nothing, whatever was written for it."""
        at = self._at
        counters = replace(at.counters, skipped=at.counters.skipped + 1)
        self._standing, self._before = Standing(at.step + 1, at.side, counters), at

    def is_finite_within(self, block: slice) -> bool:
        """Whether every number that was written for a block of the next step is."""
        return all(
            math.isfinite(global_norm(vector[block])) for vector in self._sides[1 - self._side]
        )

    def measured(self, step: int, loss: float, schedule: ReduceOnPlateauSchedule) -> None:
        """Takes note of the validation loss at a step; once, and only when it stands there."""
        if step == self.step != self.counters.measured:
            plateau = self.counters.plateau.after(schedule, loss)
            counters = replace(self.counters, measured=step, plateau=plateau)
            self._standing = replace(self._at, counters=counters)

    @property
    def is_finite(self) -> bool:
        """Whether every number of it is."""
        return all(math.isfinite(global_norm(vector)) for vector in self._sides[self._side])

    def _run_on(self, place: slice, sums: Vector, old: Vector, new: Vector, rows: float) -> None:
        """Buffers of the new side from those of the old one: b + momentum (mean - b)."""
        before, after = old[place], new[place]
        momentum = self._momentum[
            place.start - self._running.start : place.stop - self._running.start
        ]
        with np.errstate(all="ignore"):
            np.divide(sums, np.float32(rows), out=after)
            np.subtract(after, before, out=after)
            np.multiply(after, momentum, out=after)
            np.add(before, after, out=after)

    def _go_on_averaging(
        self, decay: float, trained: slice, running: slice, old: Vector, new: tuple[Vector, ...]
    ) -> None:
        """The new average of the parameters; buffers are as they run."""
        if trained.start < trained.stop:
            average(
                decay,
                self.counters.updates + 1,
                *(vector[trained] for vector in (new[0], old, new[-1])),
            )
        if running.start < running.stop:
            np.copyto(new[-1][running], new[0][running])

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
        side = 1 - self._side if self.stands else 0
        for prefix, vector in zip(self._prefixes, self._sides[side], strict=True):
            self._read(arrays, prefix, vector)
        self._standing, self._before = Standing(step, side, counters), None

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
    return _counters_of(json.loads(text))


def _counters_of(values: dict[str, Any]) -> Counters:
    return Counters(**{**values, "plateau": Plateau(**values["plateau"])})


def _overlap(part: slice, place: slice) -> tuple[int, int]:
    """Where a part, which may be everything, and a place overlap."""
    first, last, _ = part.indices(place.stop)
    return max(first, place.start), min(last, place.stop)


def _input_shapes(graph: Graph) -> Shape | dict[str, Shape]:
    """The shape of a row that goes in, or those of several inputs by their names."""
    if graph.inputs[0].path == _DATA:
        return graph.input_shape
    return {node.path.removeprefix(f"{_DATA}."): node.shape for node in graph.inputs}


def _momentum(graph: Graph) -> Vector:
    """The momentum of each number of the buffers."""
    momenta = [np.full(buffer.size, buffer.momentum, np.float32) for buffer in graph.buffers]
    return np.concatenate(momenta) if momenta else np.empty(0, np.float32)
