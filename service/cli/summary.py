"""What came of a run: the closing summary, for people and for programs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gradloom.service.cli.description import metric_words
from gradloom.service.documents import Document, event_document, metrics_document
from gradloom.service.jobs.job import Job
from gradloom.service.jobs.states import State
from gradloom.service.terminal import words_of
from gradloom.service.watching import Event, ProgressEvent
from gradloom.service.wording import count, measure, seconds

_MARKS = {State.SUCCEEDED: "✔", State.FAILED: "✗", State.CANCELLED: "–"}


class Recorder:
    """Keeps what a summary needs of a job's events: progress, and when the first step was seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.progress: list[ProgressEvent] = []
        self.revision = 0
        self.first_step_seconds: float | None = None
        self.total_seconds = 0.0
        self.training_start: datetime | None = None

    def show(self, event: Event) -> None:
        """Takes note of one event."""
        self.revision = event.revision
        self.total_seconds = self._clock() - self._start
        match event:
            case ProgressEvent():
                self._note_progress(event)
            case Job(state=State.RUNNING) if self.training_start is None:
                self.training_start = event.update_time

    def _note_progress(self, event: ProgressEvent) -> None:
        self.progress.append(event)
        if event.step and self.first_step_seconds is None:
            self.first_step_seconds = self.total_seconds

    @property
    def samples_per_second(self) -> float:
        """Training rows a second from the first step's start to the last one's end."""
        if not self.progress or self.training_start is None:
            return 0.0
        span = (self.progress[-1].time - self.training_start).total_seconds()
        return self.progress[-1].samples / span if span > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished job and what was seen of it."""

    job: Job
    backend: str
    model_path: Path | None
    progress_path: Path
    first_step_seconds: float | None
    total_seconds: float
    samples_per_second: float

    @property
    def document(self) -> Document:
        """The summary for programs."""
        progress, plan, receipt = self.job.progress, self.job.plan, self.job.receipt
        return {
            "job": self.job.id,
            "name": self.job.spec.name,
            "state": str(self.job.state),
            "reason": str(self.job.reason),
            "message": self.job.message,
            "steps": progress.step if progress else 0,
            "epochs": progress.epoch if progress else 0,
            "loss": metrics_document({"loss": progress.loss})["loss"] if progress else None,
            "metrics": metrics_document(self.job.metrics),
            "weights_sha256": receipt.weights_sha256,
            "data_sha256": receipt.data_sha256,
            "spec_sha256": receipt.spec_sha256,
            "profile": receipt.profile,
            "parameters": plan.parameters if plan else 0,
            "samples_per_second": round(self.samples_per_second, 3),
            "seconds": {
                "submit_to_first_step": _rounded(self.first_step_seconds),
                "total": _rounded(self.total_seconds),
            },
            "workers": self.job.spec.resources.workers,
            "worker_losses": progress.worker_losses if progress else 0,
            "backend": self.backend,
            "model_path": str(self.model_path) if self.model_path else None,
            "progress_path": str(self.progress_path),
        }

    @property
    def text(self) -> str:
        """The summary for people."""
        job = self.job
        head = f"{_MARKS.get(job.state, '–')} {job.state} in {seconds(self.total_seconds)}"
        if job.state is not State.SUCCEEDED:
            head = f"{head}: {job.message or words_of(job.reason)}"
        facts = [(name, value) for name, value in self._facts() if value]
        width = max([20, *(len(name) for name, _ in facts)])
        lines = [f"  {name:<{width}} {value}" for name, value in facts]
        return "\n".join([head, *lines])

    def _facts(self) -> list[tuple[str, str]]:
        job, progress = self.job, self.job.progress
        facts = [
            (f"{metric.split} {metric.name}", measure(metric.value)) for metric in job.measured
        ]
        if job.best:
            facts.append(("best", f"{metric_words(job.best)}, epoch {job.best.epoch}"))
        if progress:
            facts.append(("steps", f"{count(progress.step)}/{count(progress.steps)}"))
            facts.append(("speed", f"{count(self.samples_per_second)} samples/s"))
        facts += [
            ("workers", f"{job.spec.resources.workers} ({self.backend})"),
            ("weights sha256", job.receipt.weights_sha256),
            ("model", str(self.model_path or "")),
            ("metrics", str(self.progress_path)),
        ]
        return facts


def progress_lines(job: Job, recorder: Recorder) -> list[Document]:
    """All progress of a job, as documents."""
    return [event_document(job.id, event) for event in recorder.progress]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
