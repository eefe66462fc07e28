"""Compiles ahead what jobs would compile first: a step of small jobs that call every kernel.

Run as `python -m gradloom.worker.warmup` with a profile's environment; prints a line of JSON for
each small job, and one at the end. The kernels stay in the folder that the compiler names.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from gradloom.worker.assembly import TARGET_KINDS, data_sha256, joins_inputs
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.arrays import Array, Shape, size
from gradloom.worker.engine.kernels.compiler import compilations
from gradloom.worker.engine.kernels.operations import FUSIONS
from gradloom.worker.engine.spec import (
    Adam,
    Dense,
    Flatten,
    Layer,
    Learning,
    Loss,
    Model,
    ModelNode,
    Optimizer,
    Residual,
    RmsNorm,
    SoftmaxCrossEntropy,
    Target,
    WeightAverage,
)
from gradloom.worker.engine.specimens import (
    LOSS_SPECIMENS,
    OF_SEVERAL,
    OPTIMIZER_SPECIMENS,
    SPECIMENS,
    VECTOR,
)
from gradloom.worker.messages import (
    AnswerKind,
    Content,
    Evaluate,
    Formation,
    Member,
    Order,
    Snapshot,
    Task,
    Train,
    Work,
    decode,
)
from gradloom.worker.server import Server

_ROWS, _BATCH, _SHARDS = 16, 8, 2
_CLASSES = 3
_END = (Flatten(), Dense(_CLASSES))
_INPUTS = "inputs"
_TARGET = "target"
# Where a path may lie: anywhere, since it is one of ours.
_ROOT = Path("/")
_LABELS = Target("labels", classes=_CLASSES)
_CROSS_ENTROPY = SoftmaxCrossEntropy()
_ADAM = Optimizer(Adam(0.01))


class WarmupFailed(RuntimeError):
    """A small job that could not be trained; the sentence says which, and why."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A small job: rows of a shape, tokens where they are whole numbers, and what learns them."""

    name: str
    model: Model
    shape: Shape = VECTOR
    tokens: int = 0
    loss: Loss = _CROSS_ENTROPY
    target: Target = _LABELS
    optimizer: Optimizer = _ADAM


def trials() -> Iterator[Trial]:
    """Small jobs with every layer on every shape it takes, fused too, every loss and optimiser."""
    yield from _of_layers()
    yield from _of_fusions()
    yield from _of_losses()
    yield from _of_optimizers()


def _of_layers() -> Iterator[Trial]:
    for word, specimen in SPECIMENS.items():
        for layer, shape in product(specimen.layers, specimen.shapes):
            # What stands first has the layer compute the gradient of its input too, and is fused
            # with nothing.
            first = () if specimen.tokens else (RmsNorm(),)
            yield Trial(word, Model((*first, layer, *_END)), shape, specimen.tokens)
    for word, layer in OF_SEVERAL.items():
        nodes = (
            ModelNode("first", (_INPUTS,), (Dense(VECTOR[-1]),)),
            ModelNode("last", ("first", _INPUTS), (layer, *_END)),
        )
        yield Trial(word, Model(nodes=nodes, outputs=("last",)))


def _of_fusions() -> Iterator[Trial]:
    """The chains that one kernel computes, with every variant of the layers after the first."""
    for chain, name in FUSIONS.items():
        first, *others = (SPECIMENS[word] for word in chain if word != "add")
        for shape in (each for each in first.shapes if all(each in o.shapes for o in others)):
            for layers in product(first.layers[:1], *(other.layers for other in others)):
                model = Model((Dense(shape[-1]), *_chained(chain, layers), *_END))
                yield Trial(name, model, shape)


def _chained(chain: tuple[str, ...], layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers of a chain; an add closes a residual around those before it."""
    found: tuple[Layer, ...] = ()
    waiting = iter(layers)
    for word in chain:
        found = (Residual(found),) if word == "add" else (*found, next(waiting))
    return found


def _of_losses() -> Iterator[Trial]:
    for word, specimens in LOSS_SPECIMENS.items():
        for each in specimens:
            model = Model((Dense(each.outputs[-1]),))
            shape = (*each.outputs[:-1], *VECTOR)
            yield Trial(word, model, shape, loss=each.loss, target=each.target)


def _of_optimizers() -> Iterator[Trial]:
    for word, kinds in OPTIMIZER_SPECIMENS.items():
        for kind in kinds:
            optimizer = Optimizer(kind, clip_norm=1.0, clip_value=1.0, average=WeightAverage())
            yield Trial(word, Model((Dense(_CLASSES),)), optimizer=optimizer)


def train(trial: Trial) -> None:
    """Does in this process what a worker does for a job, once. Raises WarmupFailed."""
    server = Server()
    inputs, target = _rows(trial)
    with _in_memory(inputs) as inputs_path, _in_memory(target) as target_path:
        files = ((_INPUTS, inputs_path), (_TARGET, target_path))
        _answered(trial, server.answer((_task(trial, files), None)))
    alone = (Member(0, 0, "", os.getpid(), 0, _SHARDS),)
    formation = Formation(1, alone, b"", "", patience=math.inf)
    works: tuple[Work, ...] = (Train(1), Evaluate("validation", 0, 1), Snapshot(Content.STATE))
    for number, work in enumerate(works, 1):
        _answered(trial, server.answer(Order(0, number, min(number - 1, 1), formation, work)))
    server.leave()


def _answered(trial: Trial, encoded: bytes) -> None:
    answer = decode(encoded)
    if answer.kind is AnswerKind.ERROR:
        raise WarmupFailed(f"{trial.name}: {answer.facts.get('message')}")


@contextmanager
def _in_memory(array: Array) -> Iterator[str]:
    """The path of a file without a name: nothing of it is left, however this process ends."""
    with os.fdopen(os.memfd_create("rows"), "wb") as file:
        np.save(file, array)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _task(trial: Trial, files: tuple[tuple[str, str], ...]) -> Task:
    spec = DataSpec(target=_TARGET, files=files, inputs=(_INPUTS,), validation_fraction=1 / _ROWS)
    kind = TARGET_KINDS[type(trial.loss)]
    data = prepare(spec, Roots((_ROOT,)), seed=0, kind=kind, joined=joins_inputs(trial.model))
    learning = Learning(trial.model, trial.loss, trial.optimizer, steps=2)
    return Task(learning, spec, data_sha256(data.summary), (str(_ROOT),), _BATCH, _SHARDS)


def _rows(trial: Trial) -> tuple[Array, Array]:
    """Whatever numbers: only their kind matters."""
    count = _ROWS * size(trial.shape)
    limit = trial.tokens or 7
    inputs = (np.arange(count) * 5 % limit).reshape(_ROWS, *trial.shape).astype(np.float32)
    return inputs if trial.tokens else inputs / limit, _answers(trial.target)


def _answers(target: Target) -> Array:
    """Labels, or probabilities, which every other loss takes."""
    if target.kind == "labels":
        labels = np.arange(_ROWS * size(target.shape)) % target.classes
        return labels.reshape(_ROWS, *target.shape)
    return np.full((_ROWS, *target.shape), 1 / target.shape[-1], np.float32)


def warm_up(report: Callable[[Mapping[str, object]], None], clock: Callable[[], float]) -> None:
    """Trains every small job and reports each of them, then what there is altogether."""
    began = clock()
    waiting = tuple(trials())
    for number, trial in enumerate(waiting, 1):
        train(trial)
        report({"event": "progress", "done": number, "of": len(waiting), "name": trial.name})
    found = compilations()
    report(
        {
            "event": "done",
            "compiled": found.compiled,
            "found": found.found,
            "unused": list(found.unused),
            "seconds": round(clock() - began, 2),
        }
    )


def main() -> None:
    """Warms up and prints JSON Lines."""

    def report(line: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    warm_up(report, time.perf_counter)


if __name__ == "__main__":
    main()
