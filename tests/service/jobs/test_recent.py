"""Jobs are read from their bytes once, and the oldest are forgotten."""

from collections.abc import Callable

from gradloom.service.jobs.job import Job
from gradloom.service.jobs.recent import Recent
from gradloom.service.wire import job_bytes, job_from_bytes

NewJob = Callable[..., Job]


def test_a_job_that_was_read_is_the_same_the_next_time(new_job: NewJob) -> None:
    recent, body = Recent(job_from_bytes), job_bytes(new_job())
    assert recent.read(body) is recent.read(body)


def test_a_job_that_was_written_need_not_be_read(new_job: NewJob) -> None:
    recent, job = Recent(job_from_bytes), new_job()
    recent.add(job_bytes(job), job)
    assert recent.read(job_bytes(job)) is job


def test_the_oldest_is_forgotten(new_job: NewJob) -> None:
    recent, bodies = Recent(job_from_bytes, most=1), [job_bytes(new_job()), job_bytes(new_job())]
    first, _ = map(recent.read, bodies)
    again = recent.read(bodies[0])
    assert again == first
    assert again is not first
