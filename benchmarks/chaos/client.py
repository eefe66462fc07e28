"""One client and its job: submits it, follows it through outages, writes down what it saw."""

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos.cases import spec_of
from benchmarks.chaos.generator import Wanted
from benchmarks.chaos.history import History, Seen
from benchmarks.chaos.site import Site
from gradloom.service.client import Client
from gradloom.service.errors import GradloomError, TimedOut, Unavailable
from gradloom.service.jobs.job import Job
from gradloom.service.watching import Event, IncidentEvent, ProgressEvent

_AGAIN_SECONDS = 0.3


class JobClient(threading.Thread):
    """A user's thread; it ends when the job has, or when its patience has."""

    def __init__(
        self, site: Site, wanted: Wanted, history: History, folder: Path, patience: float
    ) -> None:
        super().__init__(name=f"client-{wanted.number}", daemon=True)
        self.seen = Seen(wanted)
        self.progressed_at = 0.0
        self._site = site
        self._history = history
        self._folder = folder
        self._patience = patience

    def run(self) -> None:
        """The whole life of the job, as its user sees it."""
        self.seen.begun = time.monotonic()
        try:
            with self._site.client() as client:
                self._submit(client)
                self._follow(client)
                self._look(client)
        except GradloomError as error:
            self.seen.error = f"{type(error).__name__} {error.reason}: {error.message}"
        self.seen.ended = time.monotonic()
        self._history.note(
            "job ended", job=self.seen.name, state=self.seen.state, error=self.seen.error
        )

    @property
    def _deadline(self) -> float:
        return self.seen.begun + self._patience

    def _submit(self, client: Client) -> None:
        wanted, request_id = self.seen.wanted, str(uuid.uuid4())
        while True:
            try:
                spec = spec_of(wanted.case, self._folder)
                job = client.submit(spec, workers=wanted.workers, request_id=request_id)
                break
            except Unavailable:
                if time.monotonic() > self._deadline:
                    raise
                time.sleep(_AGAIN_SECONDS)
        self.seen.name = job.name
        facts = {"case": wanted.case.name, "workers": wanted.workers}
        self._history.note("job submitted", job=job.name, **facts)

    def _follow(self, client: Client) -> None:
        left = self._deadline - time.monotonic()
        try:
            for event in client.watch(self.seen.name, timeout=max(left, 1.0)):
                self._note(event)
        except TimedOut:
            self.seen.hang = f"not ended after {self._patience:.0f} s"

    def _note(self, event: Event) -> None:
        self.seen.revisions.append(event.revision)
        if isinstance(event, Job):
            self.seen.states.append(event.state)
        elif isinstance(event, ProgressEvent):
            self.progressed_at = time.monotonic()
        elif isinstance(event, IncidentEvent):
            self.seen.incidents[str(event.reason)] += 1
            self._history.note(
                "incident", job=self.seen.name, reason=event.reason, message=event.message
            )

    def _look(self, client: Client) -> None:
        """The job as it is in the end; one that hangs is cancelled, so that others may go on."""
        job = self._patiently(lambda: client.get(self.seen.name))
        self.seen.state, self.seen.reason, self.seen.message = job.state, job.reason, job.message
        self.seen.weights_sha256 = job.receipt.weights_sha256
        self.seen.attempts = len(job.attempts)
        if self.seen.hang:
            step = job.progress.step if job.progress else 0
            self.seen.hang += f" in {job.state} at step {step}: {job.message or job.reason}"
            self._history.note("hang", job=self.seen.name, why=self.seen.hang)
            self._patiently(lambda: client.cancel(self.seen.name))

    def _patiently(self, ask: Callable[[], Job]) -> Job:
        """The answer, for which a service that is away is waited for a while."""
        end = time.monotonic() + 60
        while True:
            try:
                return ask()
            except Unavailable:
                if time.monotonic() > end:
                    raise
                time.sleep(_AGAIN_SECONDS)
