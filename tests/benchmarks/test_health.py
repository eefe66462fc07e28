"""What looks cost, as shares of a training's time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.health import Cost

ROOT = Path(__file__).parents[2]


def test_a_share_is_of_the_steps_between_two_looks():
    cost = Cost("mlp", 32, step_ms=2.0, look_ms=3.0)
    assert cost.share == pytest.approx(0.015)
    assert cost.beginning_share == pytest.approx((10 + 6) * 1.5 / 1_000)


@pytest.mark.process
def test_a_quick_run_writes_what_it_measured(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "benchmarks.health", "--quick", "--output", str(tmp_path)],
        cwd=ROOT,
        env=os.environ,
        check=True,
    )
    found = json.loads((tmp_path / "benchmarks/results/health.json").read_text())
    (cost,) = found["costs"]
    assert cost["share"] == pytest.approx(cost["look_ms"] / cost["step_ms"] / found["interval"])
