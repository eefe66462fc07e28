"""A job in every form a user may give it."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest

from gradloom.service.errors import InvalidSpec, SpecFault
from gradloom.service.submission import read_submission
from gradloom.service.wire import spec_from_wire

SPEC: Mapping[str, object] = {
    "name": "digits",
    "data": {"path": "digits.npz", "target": "labels"},
    "model": {"layers": [{"dense": {"units": 10}}]},
    "loss": {"softmax_cross_entropy": {}},
    "optimizer": {"adam": {"learning_rate": 0.001}},
    "training": {"batch_size": 64, "epochs": 3},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(SPEC, indent=1))
    return path


def test_path_dict_message_and_spec_are_the_same_job(file: Path) -> None:
    message = read_submission(file).message
    forms = (str(file), SPEC, message)
    assert all(read_submission(form).message == message for form in forms)
    spec = spec_from_wire(message)
    assert spec_from_wire(read_submission(spec).message) == spec


def test_workers_override_the_file_and_leave_the_original_alone(file: Path) -> None:
    original = read_submission(file)
    assert original.with_workers(4).message.resources.workers == 4
    assert original.message.resources.workers == 0


def test_a_fault_of_the_service_gets_the_line_of_the_file(file: Path) -> None:
    fault = SpecFault("job.spec.model.layers[0].dense.units", "too few")
    (located,) = read_submission(file).located([fault])
    assert located.field == "model.layers[0].dense.units"
    assert '"units": 10' in file.read_text().splitlines()[located.line - 1]


def test_faults_of_form_and_of_the_service_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**SPEC, "lost": {}}, indent=1))
    error = read_submission(path).refusal([SpecFault("job.spec.training.epochs", "too many")])
    assert {fault.field for fault in error.faults} == {"lost", "training.epochs"}
    assert error.metadata["file"] == str(path)


def test_a_refusal_survives_pickling(file: Path) -> None:
    error = read_submission(file).refusal([SpecFault("job.spec.loss", "odd")])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (copy.faults, copy.metadata) == (error.faults, error.metadata)


def test_a_dict_has_faults_without_lines() -> None:
    faults = read_submission({**SPEC, "lost": {}}).faults
    assert [(fault.field, fault.line) for fault in faults] == [("lost", 0)]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("nowhere.yaml", "There is no file"), (".", "cannot be read"), ("a\0b", "NUL")],
)
def test_a_file_that_cannot_be_read_says_why(
    path: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSpec, match=sentence):
        read_submission(path)


@pytest.mark.parametrize("spec", [{"name": {1, 2}}, {"name": object()}])
def test_a_dict_with_values_json_has_not_is_a_fault(spec: Mapping[str, object]) -> None:
    with pytest.raises(InvalidSpec, match="JSON"):
        read_submission(spec)


def test_a_dict_with_an_infinite_number_is_a_fault() -> None:
    spec = {**SPEC, "optimizer": {"adam": {"learning_rate": float("inf")}}}
    assert [fault.field for fault in read_submission(spec).faults] == [
        "optimizer.adam.learning_rate"
    ]
