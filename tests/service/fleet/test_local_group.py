"""What only processes on this machine have: an environment and a signal that one can read."""

import os
import signal
from pathlib import Path

import pytest

from gradloom.service.fleet.group import Gone
from gradloom.service.fleet.local_group import LocalFleet
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.messages import Compute, Order
from tests.service.fleet.workers import next_event, ready
from tests.worker.jobs import task_in

pytestmark = pytest.mark.process


def test_a_death_is_told_with_its_signal_and_its_last_words(tmp_path: Path) -> None:
    group = LocalFleet().group("job", 1, tmp_path, PROFILE_DEFAULT)
    os.kill(ready(group, task_in(tmp_path)), signal.SIGKILL)
    event = next_event(group)
    assert isinstance(event, Gone)
    assert "killed by signal 9 (SIGKILL)" in event.message


def test_an_order_to_a_dead_worker_is_not_an_error_of_ours(tmp_path: Path) -> None:
    group = LocalFleet().group("job", 1, tmp_path, PROFILE_DEFAULT)
    pid = ready(group, task_in(tmp_path))
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    group.order(0, Order(1, 0, Compute(0, 8)))
    assert isinstance(next_event(group), Gone)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {
            "OPENBLAS_CORETYPE": "SkylakeX",
            "OPENBLAS_NUM_THREADS": "2",
            "OMP_NUM_THREADS": "2",
            "PYTHONHASHSEED": "1",
            "NPY_ENABLE_CPU_FEATURES": "AVX2",
        },
    ],
    ids=["usual", "hostile"],
)
def test_the_callers_environment_does_not_reach_the_arithmetic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    group = LocalFleet().group("job", 1, tmp_path, PROFILE_DEFAULT)
    pid = ready(group, task_in(tmp_path))
    kept = Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert {"OPENBLAS_CORETYPE=Haswell", "OPENBLAS_NUM_THREADS=1", "PYTHONHASHSEED=0"} <= set(kept)
    group.close()
    assert "NPY_ENABLE_CPU_FEATURES=AVX2" not in kept
