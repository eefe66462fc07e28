"""`gradloom check-gradients`: the table, the verdict, and what happens to a wrong gradient."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradloom.service.cli import check_gradients, main

pytestmark = pytest.mark.process

DIGITS = Path(__file__).parents[3] / "examples" / "digits.npz"
WRONG = Path(__file__).parent / "wrong_gradients.py"


@pytest.fixture
def job(tmp_path: Path) -> str:
    file = tmp_path / "job.yaml"
    file.write_text(
        "name: digits\n"
        f"data: {{path: {DIGITS}, target: labels}}\n"
        "model: {layers: [dense: {units: 8}, tanh: {}, dense: {units: 10}]}\n"
        "loss: {softmax_cross_entropy: {}}\n"
        "optimizer: {adam: {learning_rate: 0.01}}\n"
        "training: {batch_size: 64, epochs: 1}\n"
    )
    return str(file)


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["check-gradients", *words])
    return result.exit_code, result.stdout, result.stderr


def test_a_right_model_is_a_table_and_a_sentence(job: str) -> None:
    code, text, notes = run(job, "--elements", "5")
    lines = text.splitlines()
    assert code == 0
    assert lines[0].split() == ["layer", "array", "checked", "NumPy", "compiled"]
    assert lines[2].split()[:5] == ["layers[0].dense", "weight", "5", "of", "512"]
    assert all(line.endswith("ok") for line in lines[1:-1])
    assert lines[-1] == "All gradients are right: 9 arrays checked."
    assert "elements checked" in notes


def test_json_is_a_line_a_finding_and_the_outcome_last(job: str) -> None:
    code, text, _ = run(job, "--elements", "5", "--json")
    *found, last = map(json.loads, text.splitlines())
    assert (code, last["ok"], last["wrong"]) == (0, True, [])
    assert all(line["ok"] and line["relative_error"] < last["tolerance"] for line in found)


def test_a_wrong_gradient_is_named_and_ends_with_1(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_gradients, "_PROGRAM", (sys.executable, str(WRONG)))
    code, text, _ = run(job, "--elements", "5", "--quiet")
    assert code == 1
    assert text.splitlines() == [
        "WRONG: model.layers[1].tanh: the gradient towards its input (compiled tanh).",
        "Gradients that go through it are wrong too: 3 arrays.",
    ]


def test_what_is_wrong_is_in_the_json_too(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_gradients, "_PROGRAM", (sys.executable, str(WRONG)))
    code, text, _ = run(job, "--elements", "5", "--json")
    last = json.loads(text.splitlines()[-1])
    assert (code, last["ok"]) == (1, False)
    assert last["wrong"] == [{"path": "model.layers[1].tanh", "array": "input"}]
    assert {"path": "model.layers[0].dense", "array": "weight"} in last["wrong_behind"]


def test_a_child_that_fails_is_an_error(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_gradients, "_PROGRAM", (sys.executable, "-c", "raise SystemExit(3)"))
    code, _, errors = run(job)
    assert code == 70
    assert "exit code 3" in errors


def test_a_faulty_job_is_not_checked(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: digits\n")
    code, _, errors = run(str(file))
    assert code == 2
    assert "model is missing" in errors
