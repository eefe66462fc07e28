"""`gradloom describe-model`: a table of layers, as wide as the terminal."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gradloom.service.cli import main
from gradloom.worker.engine.spec import LAYERS, PRESETS

DIGITS = Path(__file__).parents[3] / "examples" / "digits.npz"


def job_file(folder: Path, model: str) -> str:
    file = folder / "job.yaml"
    file.write_text(
        "name: digits\n"
        f"data: {{path: {DIGITS}, inputs: [images], target: labels, validation_fraction: 0.2}}\n"
        f"model: {model}\n"
        "loss: {softmax_cross_entropy: {}}\n"
        "optimizer: {adam: {learning_rate: 0.01}}\n"
        "training: {batch_size: 64, epochs: 2}\n"
    )
    return str(file)


MLP = "{mlp: {hidden: [32], outputs: 10}}"


def lines(*words: str, width: int = 120) -> list[str]:
    result = CliRunner(env={"COLUMNS": str(width)}).invoke(main, ["describe-model", *words])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def document(*words: str) -> Any:
    return json.loads("\n".join(lines(*words, "--json")))


def test_a_model_is_a_table_with_its_presets_expanded_and_a_row_of_sums(tmp_path: Path) -> None:
    table = [line.split() for line in lines(job_file(tmp_path, MLP))[2:8]]
    dense, last = 64 * 32 + 32, 32 * 10 + 10
    assert table[0] == [
        "layer",
        "kind",
        "output",
        "parameters",
        "forward",
        "backward",
        "memory",
    ]
    assert [(row[0], row[1], row[3]) for row in table[1:5]] == [
        ("mlp.layers[0]", "flatten", "0"),
        ("mlp.layers[1]", "dense", f"{dense:,}"),
        ("mlp.layers[2]", "relu", "0"),
        ("mlp.layers[3]", "dense", f"{last:,}"),
    ]
    assert table[5][:3] == ["in", "all", f"{dense + last:,}"]


def test_the_sums_are_those_of_the_layers(tmp_path: Path) -> None:
    model = document(job_file(tmp_path, MLP))
    for name in ("parameters", "forward_flops", "backward_flops", "activation_bytes"):
        assert model[name] == sum(layer[name] for layer in model["layers"])
    assert model["memory"]["parameters"] == 4 * model["parameters"]
    assert model["memory"]["optimizer"] == 2 * model["memory"]["parameters"]
    assert 0 < model["memory"]["activations"] < model["memory"]["worker"]
    assert model["inputs"] == [{"name": "data", "shape": [64]}]


def test_a_dense_layer_costs_two_operations_a_weight(tmp_path: Path) -> None:
    model = document(job_file(tmp_path, MLP))
    dense = model["layers"][1]
    assert dense["forward_flops"] == 2 * 64 * 32 + 32
    assert dense["activation_bytes"] == 4 * 32


def test_inputs_by_name_are_told(tmp_path: Path) -> None:
    nodes = (
        "{nodes: [{name: out, inputs: [images], layers: [{dense: {units: 10}}]}], outputs: [out]}"
    )
    table = lines(job_file(tmp_path, nodes))
    assert table[0].startswith("For one row of images 64:")
    assert table[3].split()[:2] == ["nodes[0].layers[0]", "dense"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int) -> None:
    deep = "{layers: [residual: {layers: [residual: {layers: [relu: {}]}]}, dense: {units: 10}]}"
    table = lines(job_file(tmp_path, deep), width=width)
    assert max(map(len, table)) <= width
    assert any("10" in line and "650" in line for line in table)


def test_faults_are_told_as_by_validate(tmp_path: Path) -> None:
    file = job_file(tmp_path, "{mlp: {hidden: [32], outputs: 9}}")
    result = CliRunner().invoke(main, ["describe-model", file])
    assert result.exit_code == 2
    assert "model.mlp.outputs" in result.stderr
    assert "set outputs: 10." in result.stderr
    assert f"{file}:3:" in result.stderr


def test_a_file_that_cannot_be_read_is_refused_though_what_is_sound_is_a_job(
    tmp_path: Path,
) -> None:
    file = Path(job_file(tmp_path, MLP))
    file.write_text(file.read_text() + "colour: blue\n")
    result = CliRunner().invoke(main, ["describe-model", str(file)])
    assert result.exit_code == 2
    assert "colour" in result.stderr


def test_b018_every_layer_is_listed_with_its_fields() -> None:
    text = "\n".join(lines("--layers"))
    assert "dense: {units (required), bias: true, initializer: he_normal" in text
    listed = document("--layers")
    assert {word["name"] for word in listed["layers"]} == LAYERS.keys()
    assert {word["name"] for word in listed["presets"]} == PRESETS.keys()
    assert all(word["meaning"] for word in (*listed["layers"], *listed["presets"]))


def test_a_file_or_layers_must_be_asked_for() -> None:
    result = CliRunner().invoke(main, ["describe-model"])
    assert result.exit_code == 2
    assert "Name a job file, or ask for --layers." in result.stderr


@pytest.mark.process
def test_the_command_runs() -> None:
    words = [sys.executable, "-m", "gradloom.service.cli", "describe-model"]
    example = DIGITS.parent / "digits.yaml"
    answer = subprocess.run(
        [*words, str(example)], capture_output=True, text=True, check=True, cwd=DIGITS.parents[1]
    )
    assert "in all" in answer.stdout
