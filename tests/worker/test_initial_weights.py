"""Weights from a file: arranged for the model, or refused with what was expected and found."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gradloom.worker.data.files import Roots
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.spec import (
    Dense,
    InitialWeights,
    Model,
    Relu,
    SoftmaxCrossEntropy,
    Target,
)
from gradloom.worker.initial_weights import FIELD, WeightsError, load_weights

FILE = InitialWeights("weights.safetensors")


@pytest.fixture
def graph() -> Graph:
    model = Model((Dense(4), Relu(), Dense(3)))
    return build_graph(model, SoftmaxCrossEntropy(), (5,), Target("labels", classes=3))


@pytest.fixture
def arrays(graph: Graph) -> dict[str, np.ndarray]:
    """An array of other numbers for each parameter."""
    return {
        part.name: np.arange(part.offset, part.offset + part.size, dtype=np.float32).reshape(
            part.shape
        )
        for part in graph.parts
    }


def sentences(graph: Graph, folder: Path, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """What is wrong with a file of these arrays."""
    save_file(dict(arrays), folder / FILE.path)
    with pytest.raises(WeightsError) as caught:
        load_weights(graph, FILE, Roots((folder,)))
    assert {fault.field for fault in caught.value.faults} == {FIELD}
    return [fault.description for fault in caught.value.faults]


def test_every_array_comes_to_its_place(
    graph: Graph, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    # safetensors sorts by type and name: the order of a file is not that of the model.
    save_file(arrays, tmp_path / FILE.path)
    loaded = load_weights(graph, FILE, Roots((tmp_path,)))
    assert loaded.vector.tolist() == list(range(graph.vector_size))
    assert len(loaded.sha256) == 64


def test_a_wrong_shape_is_told_with_the_right_one(
    graph: Graph, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    arrays["layers.0.weight"] = arrays["layers.0.weight"].T.copy()
    assert sentences(graph, tmp_path, arrays) == [
        "layers.0.weight has the shape (5, 4) in the file, the model needs (4, 5)."
    ]


def test_missing_and_foreign_names_are_told_together(
    graph: Graph, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    arrays["layer.0.bias"] = arrays.pop("layers.0.bias")
    assert sentences(graph, tmp_path, arrays) == [
        'The file has no tensor layers.0.bias of shape (4); nearest: "layer.0.bias".',
        'The file holds "layer.0.bias", which the model has not: take it out.',
    ]


def test_other_types_are_refused(
    graph: Graph, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    assert sentences(graph, tmp_path, wide)[0].endswith(
        "is of type F64 in the file, save it as F32."
    )


def test_numbers_that_are_none_are_refused(
    graph: Graph, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    arrays["layers.2.bias"][1] = np.nan
    assert sentences(graph, tmp_path, arrays) == [
        "layers.2.bias holds NaN or infinity in the file: give finite weights."
    ]


def test_of_very_many_faults_some_are_told(
    graph: Graph, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    many = {f"odd.{number}": np.zeros(1, np.float32) for number in range(50)}
    found = sentences(graph, tmp_path, {**arrays, **many})
    assert len(found) == 9
    assert found[-1].startswith("There are more such faults")


def test_other_files_are_refused(graph: Graph, tmp_path: Path) -> None:
    (tmp_path / FILE.path).write_bytes(pickle.dumps({"layers.0.weight": [1.0]}))
    with pytest.raises(WeightsError, match="cannot be read as weights, it is no safetensors file"):
        load_weights(graph, FILE, Roots((tmp_path,)))


def test_a_file_outside_the_roots_is_not_opened(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="leaves the data roots"):
        load_weights(graph, InitialWeights("../weights.safetensors"), Roots((tmp_path,)))


def test_the_error_survives_pickling() -> None:
    error = WeightsError(())
    assert pickle.loads(pickle.dumps(error)).faults == ()  # noqa: S301
