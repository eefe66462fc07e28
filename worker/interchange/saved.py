"""A trained model as it was saved: its graph and weights, and the file of them that PyTorch takes.

Names and layouts are PyTorch's already; what it has besides are counters of batches.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from gradloom.worker.engine.arrays import Array
from gradloom.worker.engine.graph import Graph, InputShapes, ModelError, build_graph
from gradloom.worker.engine.spec import Loss, Model, Target
from gradloom.worker.initial_weights import WeightsError, arranged
from gradloom.worker.tensor_file import metadata

_RUNNING_MEAN = "running_mean"
_COUNTER = "num_batches_tracked"


class BadModelFile(ValueError):
    """A file that is no trained model of ours; the message is a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedModel:
    """The graph, the flat vector of its parameters and buffers, and the file's metadata."""

    graph: Graph
    vector: npt.NDArray[np.float32]
    metadata: Mapping[str, str]


def read_saved(content: bytes, model: Model, loss: Loss) -> SavedModel:
    """The model that a file's spec describes, with its weights.

    Raises BadModelFile, and BadTensorFile where it is no file of weights at all.
    """
    facts = metadata(content)
    try:
        target = Target(**json.loads(facts["target"]))
        held = Target(target.kind, target.classes, tuple(target.shape))
        graph = build_graph(model, loss, _inputs(json.loads(facts["inputs"])), held)
        return SavedModel(graph, arranged(graph, content), facts)
    except (ModelError, WeightsError) as error:
        sentences = " ".join(fault.description for fault in error.faults)
        raise BadModelFile(f"The file's weights are not those of its spec: {sentences}") from None
    except (KeyError, TypeError, ValueError, RecursionError):
        raise BadModelFile("The file does not say what goes into the model.") from None


# A value of a JSON document.
def _inputs(shapes: Any) -> InputShapes:
    if isinstance(shapes, dict):
        return {name: tuple(map(int, shape)) for name, shape in shapes.items()}
    return tuple(map(int, shapes))


def torch_weights(saved: SavedModel) -> bytes:
    """A safetensors file of the state_dict of the same model in PyTorch."""
    parts = saved.graph.parts
    arrays: dict[str, Array] = {
        part.name: saved.vector[part.place].reshape(part.shape) for part in parts
    }
    step = np.asarray(int(saved.metadata.get("step", "0")), np.int64)
    for name in list(arrays):
        stem, _, last = name.rpartition(".")
        if last == _RUNNING_MEAN:
            arrays[f"{stem}.{_COUNTER}"] = step
    return save(arrays, {"format": "pt", **saved.metadata})
