"""Jobs, events and errors as JSON documents."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gradloom.service.documents import (
    error_document,
    event_document,
    job_document,
    metrics_document,
)
from gradloom.service.errors import InvalidSpec, SpecFault, WrongState
from gradloom.service.jobs.job import Job, Metric
from gradloom.service.jobs.spec import JobSpec, Training
from gradloom.service.jobs.states import Reason, State
from gradloom.service.watching import IncidentEvent
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.spec import Adam, Dense, Model, Optimizer, SoftmaxCrossEntropy

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def job() -> Job:
    spec = JobSpec(
        name="digits",
        data=DataSpec(target="labels", path="digits.npz"),
        model=Model((Dense(10),)),
        loss=SoftmaxCrossEntropy(),
        optimizer=Optimizer(Adam(0.001)),
        training=Training(batch_size=64, epochs=3),
    )
    return Job(
        name="jobs/digits-k7m2q9xa",
        uid="4f",
        spec=spec,
        create_time=NOON,
        update_time=NOON,
        labels=(("team", "vision"),),
        measured=(Metric("accuracy", "validation", 0.97, 690, 30),),
    )


def test_a_job_has_labels_and_metrics_by_name(job: Job) -> None:
    document = job_document(job)
    assert document["labels"] == {"team": "vision"}
    assert document["metrics"] == {"validation/accuracy": 0.97}


def test_a_job_is_found_by_id(job: Job) -> None:
    assert job_document(job)["job"] == "digits-k7m2q9xa"


def test_the_spec_is_written_as_in_a_job_file(job: Job) -> None:
    layers = job_document(job)["spec"]["model"]["layers"]
    assert layers[0]["dense"]["units"] == 10


def test_times_are_in_utc(job: Job) -> None:
    assert job_document(job)["create_time"] == "2026-11-24T12:00:00Z"


def test_words_are_short(job: Job) -> None:
    document = job_document(replace(job, state=State.RUNNING))
    assert (document["state"], document["reason"]) == ("RUNNING", "CREATED")


def test_a_job_is_json(job: Job) -> None:
    assert json.loads(json.dumps(job_document(job), allow_nan=False)) == job_document(job)


def test_a_change_of_state_is_told_in_short(job: Job) -> None:
    document = event_document(job.id, replace(job, revision=3))
    assert (document["event"], document["revision"], document["state"]) == ("state", 3, "QUEUED")
    assert "spec" not in document


def test_an_incident_is_told_whole() -> None:
    incident = IncidentEvent(Reason.WORKER_LOST, "gone", worker=1, revision=4, time=NOON)
    document = event_document("digits-k7m2q9xa", incident)
    assert (document["event"], document["worker"], document["reason"]) == (
        "incident",
        1,
        "WORKER_LOST",
    )


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_json_has_no_word_for_is_null(number: float) -> None:
    assert metrics_document({"loss": number}) == {"loss": None}


def test_an_error_carries_its_faults() -> None:
    document = error_document(InvalidSpec([SpecFault("loss", "loss is missing.", 3, 1)]))
    assert document["faults"] == [
        {"field": "loss", "description": "loss is missing.", "line": 3, "column": 1}
    ]


def test_an_error_carries_what_a_program_needs() -> None:
    document = error_document(WrongState("jobs/a", state="FAILED", needs=["RUNNING"]))
    assert (document["code"], document["reason"]) == ("FAILED_PRECONDITION", "WRONG_STATE")
    assert document["metadata"]["state"] == "FAILED"
