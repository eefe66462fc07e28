"""Commands that ask a service: what they print, and what they end with."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gradloom import Client, Job, State
from gradloom.service.cli import main
from gradloom.service.jobs.job import IncidentHappened, StateChanged
from gradloom.service.jobs.states import Reason

Command = Callable[..., Result]


@pytest.fixture
def gradloom(door: Any, tmp_path: Path) -> Command:
    """Runs a command against the door, with a state folder of its own."""
    environment = {"GRADLOOM_ADDRESS": door.address, "XDG_STATE_HOME": str(tmp_path / "state")}
    return lambda *words: CliRunner(env=environment).invoke(main, [str(word) for word in words])


@pytest.fixture
def client(door: Any) -> Iterator[Client]:
    with Client(door.address) as connected:
        yield connected


@pytest.fixture
def job(client: Client, job_file: Path) -> Job:
    return client.submit(job_file)


def documents(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_submit_prints_the_id_and_what_comes_next(
    gradloom: Command, client: Client, job_file: Path
) -> None:
    result = gradloom("submit", job_file)
    (job,) = client.list()
    assert result.stdout.strip() == job.id
    assert f"gradloom watch {job.id}" in result.stderr


def test_quiet_leaves_the_id_only(gradloom: Command, job_file: Path) -> None:
    result = gradloom("submit", job_file, "--quiet")
    assert result.stderr == ""
    assert result.stdout.startswith("digits-")


def test_submit_takes_workers_and_labels(gradloom: Command, job_file: Path) -> None:
    words = ("--workers", 2, "--label", "team=vision", "--label", "tier=a=b", "--json")
    (document,) = documents(gradloom("submit", job_file, *words))
    assert document["spec"]["resources"]["workers"] == 2
    assert document["labels"] == {"team": "vision", "tier": "a=b"}


def test_a_faulty_file_is_shown_with_its_lines(
    gradloom: Command, job_file: Path, job_text: str
) -> None:
    job_file.write_text(job_text.replace("batch_size: 64", "batch_size: 0"))
    result = gradloom("submit", job_file)
    assert result.exit_code == 2
    assert f"{job_file}:8:24  training.batch_size" in result.stderr
    assert "1 fault, nothing was submitted." in result.stderr
    assert result.stdout == ""


def test_a_faulty_file_is_one_object_for_a_program(
    gradloom: Command, job_file: Path, job_text: str
) -> None:
    job_file.write_text(job_text.replace("units: 10", "units: 9"))
    result = gradloom("submit", job_file, "--json")
    error = json.loads(result.stderr)
    assert (error["reason"], error["faults"][0]["line"]) == ("INVALID_SPEC", 5)


def test_validate_asks_the_service_of_the_environment(gradloom: Command, job_file: Path) -> None:
    result = gradloom("validate", job_file)
    assert result.exit_code == 0
    assert "650 parameters" in result.stdout


def test_validate_without_a_service_looks_for_itself(
    job_file: Path, job_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(job_file.parent)
    result = CliRunner().invoke(main, ["validate", str(job_file), "--json"])
    assert result.exit_code == 2
    assert [fault["field"] for fault in json.loads(result.stderr)["faults"]] == ["data.path"]


def test_list_without_jobs_says_how_to_make_one(gradloom: Command) -> None:
    result = gradloom("list")
    assert result.stdout == ""
    assert "gradloom submit" in result.stderr


def test_list_shows_state_and_progress(gradloom: Command, door: Any, job: Job) -> None:
    door.train(job.name)
    heads, row = gradloom("list").stdout.splitlines()
    assert heads.split()[:3] == ["ID", "NAME", "STATE"]
    assert row.split()[:5] == [job.id, "digits", "SUCCEEDED", "100", "%"]


def test_list_is_a_line_a_job_for_a_program(gradloom: Command, job: Job) -> None:
    assert [document["job"] for document in documents(gradloom("list", "--json"))] == [job.id]


def test_describe_tells_history_plan_and_spec(gradloom: Command, door: Any, job: Job) -> None:
    door.train(job.name)
    text = gradloom("describe", job.id).stdout
    for part in ("SUCCEEDED", "it SUCCEEDED at step 3", "650 parameters", "units: 10"):
        assert part in text


def test_describe_gives_a_program_everything(gradloom: Command, door: Any, job: Job) -> None:
    door.train(job.name)
    (document,) = documents(gradloom("describe", job.id, "--json"))
    assert document["metrics"] == {"validation/accuracy": 0.75}
    assert document["plan"]["parameters"] == 650
    assert [each["state"] for each in document["transitions"]][-1] == "SUCCEEDED"


@pytest.mark.parametrize("form", ["{name}", "{id}", "{prefix}", "@last"])
def test_a_job_may_be_named_in_four_ways(gradloom: Command, job_file: Path, form: str) -> None:
    id_ = gradloom("submit", job_file).stdout.strip()
    reference = form.format(name=f"jobs/{id_}", id=id_, prefix=id_[:-2])
    (document,) = documents(gradloom("describe", reference, "--json"))
    assert document["job"] == id_


def test_the_beginning_of_two_jobs_is_refused(gradloom: Command, job_file: Path) -> None:
    ids = [gradloom("submit", job_file).stdout.strip() for _ in range(2)]
    result = gradloom("describe", "digits-")
    assert result.exit_code == 2
    assert all(id_ in result.stderr for id_ in ids)


@pytest.mark.parametrize("reference", ["nobody-1", "@last", "Ü", "jobs/"])
def test_an_unknown_job_is_3(gradloom: Command, reference: str) -> None:
    result = gradloom("describe", reference)
    assert result.exit_code == 3
    assert "There is no job" in result.stderr


def test_watch_prints_plain_lines_in_a_pipe(gradloom: Command, door: Any, job: Job) -> None:
    incident = IncidentHappened(Reason.WORKER_LOST, "worker 1 was killed")
    door.record(job.name, incident)
    door.train(job.name)
    lines = gradloom("watch", job.id).stdout.splitlines()
    assert "WORKER_LOST worker 1 was killed" in lines[1]
    assert "epoch 1/1  step 3/3  loss 0.333  val acc 0.750" in lines[-2]
    assert "SUCCEEDED" in lines[-1]


def test_watch_prints_json_lines_for_a_program(gradloom: Command, door: Any, job: Job) -> None:
    door.train(job.name)
    events = documents(gradloom("watch", job.id, "--json"))
    assert [event["revision"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["state"] == "SUCCEEDED"


@pytest.mark.parametrize(("end", "code"), [(State.SUCCEEDED, 0), (State.FAILED, 1)])
def test_watch_ends_with_the_outcome(
    gradloom: Command, door: Any, job: Job, end: State, code: int
) -> None:
    door.train(job.name, end=end)
    assert gradloom("watch", job.id).exit_code == code


def test_watching_a_cancelled_job_is_6(gradloom: Command, door: Any, job: Job) -> None:
    assert gradloom("cancel", job.id).stdout.strip() == f"{job.id} CANCELLING"
    door.record(job.name, StateChanged(State.CANCELLED, Reason.CANCEL_REQUESTED))
    assert gradloom("watch", job.id, "--quiet").exit_code == 6


def test_cancelling_a_finished_job_is_3(gradloom: Command, door: Any, job: Job) -> None:
    door.train(job.name)
    result = gradloom("cancel", job.id, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stderr)["metadata"]["state"] == "SUCCEEDED"


def test_submit_and_wait_ends_with_the_outcome(
    gradloom: Command, door: Any, job_file: Path
) -> None:
    submitted = Queue[str]()
    door.store.subscribe(submitted.put)
    floor = Thread(target=lambda: door.train(submitted.get(timeout=10), end=State.FAILED))
    floor.start()
    result = gradloom("submit", job_file, "--wait", "--json")
    floor.join()
    assert result.exit_code == 1
    assert documents(result)[-1]["state"] == "FAILED"


def test_update_says_the_workers_the_job_may_have_now(gradloom: Command, job: Job) -> None:
    result = gradloom("update", job.id, "--workers", 2, "--min-workers", 1)
    assert result.stdout.strip() == f"{job.id} QUEUED, workers wanted 2, 1 to 2"


def test_update_is_one_document_for_a_program(gradloom: Command, job: Job) -> None:
    (document,) = documents(gradloom("update", job.id, "--workers", 2, "--json"))
    assert document["spec"]["resources"]["workers"] == 2


def test_update_of_too_many_workers_names_the_field(gradloom: Command, job: Job) -> None:
    result = gradloom("update", job.id, "--workers", 1000)
    assert result.exit_code == 2
    assert "resources.workers" in result.stderr


def test_update_of_nothing_says_what_can_be_updated(gradloom: Command, job: Job) -> None:
    result = gradloom("update", job.id)
    assert result.exit_code == 2
    assert "--min-workers" in result.stderr


def test_a_watcher_sees_the_update(gradloom: Command, door: Any, job: Job) -> None:
    gradloom("update", job.id, "--workers", 2)
    door.train(job.name)
    assert "WORKERS    wanted 2" in gradloom("watch", job.id).stdout
