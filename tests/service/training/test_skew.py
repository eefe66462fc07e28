"""A worker of another release is refused, and both versions are named."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gradloom.service.fleet.local_group import LocalFleet
from gradloom.service.fleet.process_pool import ProcessPool
from gradloom.service.jobs.job import IncidentHappened, StateChanged
from gradloom.service.jobs.states import Reason, State
from gradloom.service.training.runner import run
from gradloom.service.training.skew import skew
from gradloom.service.training.surroundings import Wishes
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from tests.service.training.floor_in_process import InProcessFleet, spec, submit, surroundings

HERE = {
    "gradloom": "0.3.0",
    "protocol": "1",
    "bits": "3",
    "python": "3.11.7",
    "numpy": "2.4.6",
    "ray": "2.60.0",
}


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("gradloom", "0.2.0"),
        ("protocol", "2"),
        ("bits", "4"),
        ("python", "3.12.7"),
        ("numpy", "2.4.7"),
    ],
)
def test_what_matters_is_named_with_both_versions(name: str, version: str) -> None:
    told = skew("worker 3 on node-b", HERE, HERE | {name: version})
    assert f"worker 3 on node-b has {name} {version}, and the service {name} {HERE[name]}:" in told


@pytest.mark.parametrize("there", [HERE, HERE | {"python": "3.11.9"}, HERE | {"ray": "none"}])
def test_what_does_not_matter_is_passed_over(there: dict[str, str]) -> None:
    assert not skew("worker 3", HERE, there)


def test_a_worker_that_names_no_versions_is_of_another_release() -> None:
    assert "gradloom none, protocol none" in skew("worker 3", HERE, {})


@pytest.mark.process
def test_workers_of_another_release_train_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they are started, another release of Gradloom is found first."""
    installed = tmp_path / "other" / "gradloom-9.9.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: gradloom\nVersion: 9.9\n")
    around = surroundings(tmp_path, InProcessFleet())
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(installed.parent))
    pool = ProcessPool(0, tmp_path / "warm", PROFILE_DEFAULT, most=2)
    fleet = LocalFleet(pool, cpus=2)
    around = replace(around, fleet=fleet)
    job = submit(around, spec(workers=1))
    around.store.record(job.name, StateChanged(State.STARTING, Reason.SCHEDULED))
    run(job.name, around, Wishes())
    fleet.close()
    after = around.store.get(job.name)
    told = (each.event for each in around.store.history(job.name, 0, 1000))
    reasons = {event.reason for event in told if isinstance(event, IncidentHappened)}
    assert (after.state, reasons) == (State.FAILED, {Reason.VERSION_SKEW})
    assert "gradloom 9.9, and the service gradloom" in after.message
