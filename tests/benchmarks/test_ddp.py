"""Workers beside DDP: speed is read off a job's reports, and a run writes what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cases import DDP_CASES, DDP_GOALS
from benchmarks.contestant import ContestantFailed
from benchmarks.job import Point, rate
from benchmarks.programs import ddp

ROOT = Path(__file__).parents[2]
ABSENT = {"ddp_samples_per_second", "ddp_ms", "ratio", "ratio_low", "ratio_high", "goal"}


def test_the_speed_is_that_between_the_first_report_after_a_while_and_the_last():
    points = (Point(10, 0), Point(11, 5), Point(12, 100), Point(13, 200), Point(14, 300))
    assert rate(points, settle=1.5) == 100


def test_a_report_alone_is_no_speed():
    with pytest.raises(ContestantFailed, match="3 reports came, which is too few"):
        rate((Point(0, 0), Point(1, 10), Point(2, 20)), settle=1.5)


def test_the_goals_are_those_of_cases_that_are_measured():
    assert DDP_GOALS.keys() <= set(DDP_CASES)
    assert DDP_GOALS.keys() >= {case for case in DDP_CASES if case.model != "mlp"}


def test_without_pytorch_nobody_runs_beside_us():
    assert ddp(None) is None


@pytest.mark.process
def test_a_quick_run_trains_a_job_on_two_workers_and_writes_its_speed(tmp_path: Path):
    printed = subprocess.check_output(
        [sys.executable, "-m", "benchmarks.ddp", "--quick", "--output", tmp_path / "ddp.json"],
        cwd=ROOT,
        env={**os.environ, "TORCH_PYTHON": ""},
        text=True,
    )
    (row,) = json.loads((tmp_path / "ddp.json").read_text())
    assert (row["case"], row["batch"], row["workers"]) == ("mlp", 64, 2)
    assert row["ours_samples_per_second"] > 0
    assert {name for name, value in row.items() if value is None} == ABSENT
    assert "mlp 64" in printed
