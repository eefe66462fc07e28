"""`gradloom export`: from a model file to another, or a sentence that says why not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load, load_file, save_file

from gradloom.service.cli import main
from gradloom.service.job_file import json_form
from gradloom.service.wire import spec_to_wire
from gradloom.worker.engine.graph import build_graph
from gradloom.worker.engine.spec import Dense, Model, Relu, SoftmaxCrossEntropy, Target
from gradloom.worker.state import State
from tests.service.training.floor_in_process import spec

MODEL = Model((Dense(4), Relu(), Dense(3)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file as a job leaves it."""
    job = replace(spec(), model=MODEL)
    graph = build_graph(MODEL, SoftmaxCrossEntropy(), (2,), Target("labels", classes=3))
    facts = {"spec": json.dumps(json_form(spec_to_wire(job)))}
    path = tmp_path / "model.safetensors"
    path.write_bytes(State(graph, job.optimizer, seed=1).model(facts))
    return path


def exported(*words: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, words)])


def test_what_to_write_is_told_by_the_name(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    result = exported(model, "-o", target)
    assert (result.exit_code, result.stdout) == (0, f"{target}\n")
    assert onnx.load(target).graph.output[0].name == "output"


def test_weights_for_pytorch_are_those_of_the_model(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "weights"
    result = exported(model, "--format", "safetensors", "-o", target, "--json")
    told = json.loads(result.stdout)
    assert told == {
        "path": str(target),
        "format": "safetensors",
        "size_bytes": target.stat().st_size,
    }
    before, after = load_file(model), load(target.read_bytes())
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_name_that_tells_nothing_needs_a_format(model: Path, tmp_path: Path) -> None:
    result = exported(model, "-o", tmp_path / "model.pt")
    assert result.exit_code == 2
    assert "add --format safetensors or onnx" in result.stderr


def test_weights_of_others_are_no_model_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file({"layers.0.weight": np.ones((2, 2), np.float32)}, path)
    result = exported(path, "-o", tmp_path / "model.onnx")
    assert result.exit_code == 2
    assert "holds no model of Gradloom's" in result.stderr


def test_a_file_that_cannot_be_written_is_a_sentence(model: Path, tmp_path: Path) -> None:
    result = exported(model, "-o", tmp_path / "nowhere" / "model.onnx")
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


def test_a_job_without_a_service_is_unreachable(tmp_path: Path) -> None:
    result = exported("@last", "-o", tmp_path / "m.onnx", "--address", "127.0.0.1:1")
    assert result.exit_code in (3, 5)
