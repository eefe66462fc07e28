"""The newest jobs by the bytes they are stored as, so that they need not be read from them anew.

Those who train a job, who wait for its turn and who watch it ask for it after each change.
"""

from threading import Lock

from gradloom.service.jobs.job import Job
from gradloom.service.wire import job_from_bytes

_MOST = 64


class Recent:
    """Jobs that were written or read last; safe to share between threads, as jobs are."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._jobs: dict[bytes, Job] = {}
        self._lock = Lock()

    def add(self, body: bytes, job: Job) -> None:
        """Remembers what a job is stored as."""
        with self._lock:
            self._jobs[body] = job
            if len(self._jobs) > self._most:
                del self._jobs[next(iter(self._jobs))]

    def read(self, body: bytes) -> Job:
        """The job of its bytes. Raises InvalidRequest where they are not a job's."""
        job = self._jobs.get(body)
        if job is None:
            job = job_from_bytes(body)
            self.add(body, job)
        return job
