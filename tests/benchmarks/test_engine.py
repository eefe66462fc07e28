"""The comparison runs without PyTorch, and says in figures and words what it found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import CASES, SHARD_COUNTS, Case
from benchmarks.engine import QUICK
from benchmarks.programs import find_torch, gradloom, pytorch

ROOT = Path(__file__).parents[2]
ABSENT = {
    "torch_eager_ms",
    "torch_compile_ms",
    "ratio",
    "ratio_low",
    "ratio_high",
    "ratio_native",
    "torch_backward_over_forward",
    "torch_eager_peak_memory_mb",
    "torch_compile_peak_memory_mb",
}


def test_the_seven_cases_are_all_there():
    assert [str(case) for case in CASES] == [
        "mlp 32",
        "mlp 128",
        "mlp 512",
        "cnn 32",
        "cnn 128",
        "gpt 8",
        "gpt 32",
    ]


def test_pytorch_is_where_it_is_said_to_be():
    assert find_torch({"TORCH_PYTHON": "/opt/torch/bin/python"}) == "/opt/torch/bin/python"
    assert find_torch({"TORCH_PYTHON": ""}) is None


def test_without_pytorch_only_we_take_part():
    assert pytorch(None, compiled=True) == ()
    assert [program.name for program in gradloom(native=True)] == ["ours", "native"]


def test_with_pytorch_both_of_its_ways_take_part():
    names = [program.name for program in pytorch("python3", compiled=True)]
    assert names == ["torch eager", "torch compile"]


def test_the_pinned_profile_is_the_one_that_counts():
    ours, native = gradloom(native=True)
    assert ours.environment["OPENBLAS_CORETYPE"] == "Haswell"
    assert "OPENBLAS_CORETYPE" not in native.environment


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], str]:
    """The rows of a quick run without PyTorch, and what it printed."""
    output = tmp_path_factory.mktemp("results") / "engine.json"
    printed = subprocess.check_output(
        [sys.executable, "-m", "benchmarks.engine", "--quick", "--output", str(output)],
        cwd=ROOT,
        env={**os.environ, "TORCH_PYTHON": ""},
        text=True,
    )
    return json.loads(output.read_text()), printed


@pytest.mark.process
def test_a_quick_run_writes_its_cases(measured: tuple[list[dict[str, Any]], str]):
    rows, _ = measured
    assert [Case(row["case"], row["batch"]) for row in rows] == list(QUICK.cases)


@pytest.mark.process
def test_what_was_measured_is_more_than_nothing(measured: tuple[list[dict[str, Any]], str]):
    for row in measured[0]:
        assert all(row[name] > 0 for name, value in row.items() if isinstance(value, float))
        assert row["versions"]["numpy"] and row["machine"]["processor"] and row["date"]


@pytest.mark.process
def test_what_pytorch_would_have_said_is_empty(measured: tuple[list[dict[str, Any]], str]):
    rows, printed = measured
    assert all({name for name, value in row.items() if value is None} == ABSENT for row in rows)
    assert "PyTorch was not there" in printed


@pytest.mark.process
def test_virtual_shards_are_part_of_it(measured: tuple[list[dict[str, Any]], str]):
    rows, printed = measured
    assert list(rows[0]["virtual_shards"]["ms"]) == [str(count) for count in SHARD_COUNTS]
    assert "V = 16" in printed
