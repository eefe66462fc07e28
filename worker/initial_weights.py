"""Weights to begin from: a safetensors file of PyTorch's names, held to the model's."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from gradloom.worker.data.errors import FileError
from gradloom.worker.data.files import Roots, read_file
from gradloom.worker.data.wording import nearest, quoted
from gradloom.worker.engine.arrays import text
from gradloom.worker.engine.graph import Graph
from gradloom.worker.engine.spec import Fault, InitialWeights
from gradloom.worker.tensor_file import BadTensorFile, Tensor, tensors

Vector = npt.NDArray[np.float32]

FIELD = "model.initial_weights.path"
# PyTorch counts the batches of a batch norm; the running means here do without.
_COUNTER = ".num_batches_tracked"
_MOST_FAULTS = 8


class WeightsError(ValueError):
    """Weights that a model cannot begin from, with every fault; survives pickling."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(f"{fault.field}: {fault.description}" for fault in self.faults)


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """The flat vector of a graph's parameters and buffers, and the SHA-256 of the file."""

    vector: Vector
    sha256: str


def load_weights(graph: Graph, weights: InitialWeights, roots: Roots) -> Loaded:
    """The weights of the file, arranged for the graph. Raises WeightsError."""
    try:
        content = read_file(roots, weights.path)
    except FileError as error:
        raise _fault(str(error)) from None
    return Loaded(arranged(graph, content), hashlib.sha256(content).hexdigest())


def arranged(graph: Graph, content: bytes) -> Vector:
    """The flat vector from the bytes of a safetensors file. Raises WeightsError."""
    try:
        found = tensors(content)
    except BadTensorFile as error:
        raise _fault(f"The file cannot be read as weights, it is {error}.") from None
    faults = tuple(Fault(FIELD, sentence) for sentence in _few(_misfits(graph, found)))
    if faults:
        raise WeightsError(faults)
    return _vector(graph, found, content)


def _fault(sentence: str) -> WeightsError:
    return WeightsError((Fault(FIELD, sentence),))


def _few(sentences: Iterator[str]) -> Iterator[str]:
    """The first ones, and that there are more."""
    yield from islice(sentences, _MOST_FAULTS)
    if next(sentences, None):
        yield "There are more such faults: is this the file of another model?"


def _misfits(graph: Graph, found: Mapping[str, Tensor]) -> Iterator[str]:
    """What the file lacks, has in another form, and has too much."""
    wanted = {part.name: part.shape for part in graph.parts}
    extra = [name for name in found if name not in wanted and not _is_counter(name, wanted)]
    for name, shape in wanted.items():
        if name not in found:
            yield f"The file has no tensor {name} of shape {text(shape)}{_hint(name, extra)}."
        elif found[name].shape != shape:
            yield (
                f"{name} has the shape {text(found[name].shape)} in the file, the model needs "
                f"{text(shape)}."
            )
        elif found[name].dtype != "F32":
            yield f"{name} is of type {found[name].dtype} in the file, save it as F32."
    for name in extra:
        yield f"The file holds {quoted(name)}, which the model has not: take it out."


def _is_counter(name: str, wanted: Mapping[str, object]) -> bool:
    return name.endswith(_COUNTER) and f"{name.removesuffix(_COUNTER)}.running_mean" in wanted


def _hint(name: str, extra: list[str]) -> str:
    guess = nearest(name, extra)
    return f"; nearest: {quoted(guess)}" if guess else ""


def _vector(graph: Graph, found: Mapping[str, Tensor], content: bytes) -> Vector:
    """The flat vector; raises WeightsError for numbers one cannot compute with."""
    vector = np.empty(graph.vector_size, np.float32)
    for part in graph.parts:
        vector[part.place] = np.frombuffer(content[found[part.name].place], "<f4")
    if not np.isfinite(vector).all():
        wrong = next(p.name for p in graph.parts if not np.isfinite(vector[p.place]).all())
        raise _fault(f"{wrong} holds NaN or infinity in the file: give finite weights.")
    return vector
