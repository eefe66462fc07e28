"""The client against a real API: submit, validate, get, list, watch, cancel, wait."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import yaml

from gradloom import (
    AlreadyExists,
    Client,
    InvalidSpec,
    Job,
    JobCancelled,
    JobFailed,
    NotFound,
    Progress,
    State,
    TimedOut,
    Unavailable,
    WrongState,
)
from gradloom.service.client import PAGE_SIZE
from gradloom.service.jobs.job import Progressed, StateChanged
from gradloom.service.jobs.spec import Resources
from gradloom.service.jobs.states import Reason
from gradloom.service.watching import ResourcesEvent


@pytest.fixture
def client(door: Any) -> Iterator[Client]:
    with Client(door.address, timeout=10, patience=10) as connected:
        yield connected


@pytest.fixture
def job(client: Client, job_file: Path) -> Job:
    return client.submit(job_file)


def test_a_submitted_job_is_queued(job: Job) -> None:
    assert job.state is State.QUEUED
    assert job.name.startswith("jobs/digits-")


def test_workers_and_labels_go_with_the_job(client: Client, job_file: Path) -> None:
    job = client.submit(job_file, workers=2, labels={"team": "vision"})
    assert job.spec.resources.workers == 2
    assert job.labels == (("team", "vision"),)


def test_a_dict_is_a_job_too(client: Client, job_text: str) -> None:
    job = client.submit(yaml.safe_load(job_text))
    assert job.spec.training.batch_size == 64


def test_one_request_id_makes_one_job(client: Client, job_file: Path) -> None:
    request_id = str(uuid4())
    first = client.submit(job_file, request_id=request_id)
    assert client.submit(job_file, request_id=request_id).name == first.name


def test_two_submissions_are_two_jobs(client: Client, job_file: Path) -> None:
    assert client.submit(job_file).name != client.submit(job_file).name


def test_a_request_id_of_another_job_is_refused(client: Client, job_file: Path) -> None:
    request_id = str(uuid4())
    client.submit(job_file, request_id=request_id)
    with pytest.raises(AlreadyExists):
        client.submit(job_file, workers=2, request_id=request_id)


def test_faults_come_with_line_and_column(client: Client, job_file: Path, job_text: str) -> None:
    job_file.write_text(job_text.replace("units: 10", "units: 9"))
    with pytest.raises(InvalidSpec) as caught:
        client.submit(job_file)
    (fault,) = caught.value.faults
    assert fault.field == "model.layers[0].dense.units"
    assert job_file.read_text().splitlines()[fault.line - 1][fault.column - 1 :].startswith("9")


def test_faults_of_form_and_meaning_come_at_once(
    client: Client, job_file: Path, job_text: str
) -> None:
    job_file.write_text(job_text.replace("units: 10", "untis: 9").replace("epochs: 1", "epochs: 0"))
    fields = {fault.field for fault in client.validate(job_file).faults}
    assert {"model.layers[0].dense.untis", "training"} <= fields


def test_more_faults_than_an_error_holds_are_all_told(client: Client, job_text: str) -> None:
    spec = yaml.safe_load(job_text)
    spec["model"]["layers"] = [{"dropout": {"rate": 1.5}}] * 60 + spec["model"]["layers"]
    with pytest.raises(InvalidSpec) as caught:
        client.submit(spec)
    assert len(caught.value.faults) == 60


def test_an_error_knows_its_call_and_survives_pickling(client: Client) -> None:
    with pytest.raises(NotFound) as caught:
        client.get("digits-nowhere")
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert copy.request_id and copy.request_id == caught.value.request_id


def test_validate_says_what_a_job_comes_to(client: Client, job_file: Path) -> None:
    validation = client.validate(job_file)
    assert validation.faults == ()
    assert validation.plan is not None
    assert validation.plan.parameters == 650


def test_validate_makes_no_job(client: Client, job_file: Path) -> None:
    client.validate(job_file)
    assert list(client.list()) == []


@pytest.mark.parametrize("form", ["{job.name}", "{job.id}"])
def test_a_job_is_found_by_name_and_by_id(client: Client, job: Job, form: str) -> None:
    assert client.get(form.format(job=job)) == client.get(job)


def test_a_list_goes_on_after_a_page(client: Client, job_file: Path) -> None:
    names = [client.submit(job_file).name for _ in range(PAGE_SIZE + 2)]
    assert [job.name for job in client.list()] == names[::-1]


def test_events_come_in_order_and_end_with_the_job(client: Client, door: Any, job: Job) -> None:
    door.train(job.name)
    events = list(client.watch(job))
    assert [event.revision for event in events] == list(range(1, len(events) + 1))
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3]
    assert isinstance(events[-1], Job) and events[-1].state is State.SUCCEEDED


def test_events_after_a_revision_leave_out_what_was_seen(
    client: Client, door: Any, job: Job
) -> None:
    door.train(job.name)
    whole = list(client.watch(job))
    assert list(client.watch(job, after_revision=4)) == whole[4:]


def test_a_watch_survives_a_restart_of_the_service(client: Client, door: Any, job: Job) -> None:
    events = client.watch(job)
    seen = [next(events)]
    door.restart()
    floor = Thread(target=door.train, args=(job.name,))
    floor.start()
    seen += events
    floor.join()
    assert [event.revision for event in seen] == list(range(1, len(seen) + 1))


def test_waiting_gives_the_finished_job(client: Client, door: Any, job: Job) -> None:
    door.train(job.name)
    assert client.wait(job).metrics == {"validation/accuracy": 0.75}


def test_waiting_for_a_failure_raises_it(client: Client, door: Any, job: Job) -> None:
    door.train(job.name, end=State.FAILED)
    with pytest.raises(JobFailed, match="at step 3") as caught:
        client.wait(job)
    assert caught.value.reason == "NON_FINITE"


def test_waiting_for_a_cancelled_job_raises(client: Client, door: Any, job: Job) -> None:
    client.cancel(job)
    door.record(job.name, StateChanged(State.CANCELLED, Reason.CANCEL_REQUESTED))
    with pytest.raises(JobCancelled):
        client.wait(job)


def test_waiting_ends_with_its_time(client: Client, job: Job) -> None:
    with pytest.raises(TimedOut):
        client.wait(job, timeout=0.2)


def test_cancel_twice_does_no_harm(client: Client, job: Job) -> None:
    assert client.cancel(job).state is client.cancel(job).state


def test_a_finished_job_cannot_be_cancelled(client: Client, door: Any, job: Job) -> None:
    door.train(job.name)
    with pytest.raises(WrongState, match="SUCCEEDED"):
        client.cancel(job)


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADLOOM_ADDRESS", "127.0.0.1:7")
    with Client() as client:
        assert client.address == "127.0.0.1:7"


def test_nobody_at_the_address_is_unavailable() -> None:
    with Client("127.0.0.1:1", timeout=10) as client, pytest.raises(Unavailable, match="Gradloom"):
        client.get("digits-1")


def test_numbers_arrive_as_they_were_sent(client: Client, door: Any, job: Job) -> None:
    door.train(job.name, steps=1)
    (progress,) = [event for event in client.watch(job) if isinstance(event, Progress)]
    sent = next(
        record.event.progress
        for record in door.store.history(job.name, 0, 100)
        if isinstance(record.event, Progressed)
    )
    assert (progress.loss, progress.metrics) == (sent.loss, sent.metrics)


def test_a_json_file_is_a_job_file(client: Client, tmp_path: Path, job_text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(yaml.safe_load(job_text)))
    assert client.submit(path).spec.name == "digits"


def test_an_update_changes_what_is_given(client: Client, job_file: Path) -> None:
    job = client.submit(job_file)
    assert client.update(job, workers=2).spec.resources == Resources(workers=2)
    assert client.update(job, min_workers=1).spec.resources.fewest == 1
    assert client.update(job) == client.get(job)


def test_an_update_that_cannot_be_lists_its_faults(client: Client, job_file: Path) -> None:
    with pytest.raises(InvalidSpec) as raised:
        client.update(client.submit(job_file), workers=2, max_workers=1)
    assert [fault.field for fault in raised.value.faults] == ["job.spec.resources.max_workers"]


def test_an_update_is_an_event_for_watchers(client: Client, door: Any, job_file: Path) -> None:
    job = client.submit(job_file)
    client.update(job, workers=2)
    door.train(job.name)
    (event,) = [event for event in client.watch(job) if isinstance(event, ResourcesEvent)]
    assert (event.workers, event.revision) == (2, 2)
