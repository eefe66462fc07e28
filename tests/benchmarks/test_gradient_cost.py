"""A whole gradient against finite differences: sizes, figures, and a picture."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.differences import network

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("parameters", [1_000, 10_000, 1_000_000])
def test_a_network_has_about_as_many_parameters_as_asked_for(parameters: int):
    assert network(parameters).parameter_count == pytest.approx(parameters, rel=0.1)


@pytest.mark.process
def test_a_quick_run_writes_figures_and_a_picture(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "benchmarks.gradient_cost", "--quick", "--output", str(tmp_path)],
        cwd=ROOT,
        env=os.environ,
        check=True,
    )
    small, large = json.loads((tmp_path / "benchmarks/results/gradient_cost.json").read_text())[
        "costs"
    ]
    assert large["ratio"] > small["ratio"] > 1
    assert small["differences_taken_ms"] > small["gradient_ms"] > small["forward_ms"] > 0
    assert (tmp_path / "docs/gradient-cost.png").read_bytes().startswith(b"\x89PNG")
