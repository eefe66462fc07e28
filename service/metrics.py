"""What Prometheus is told, by verbs that the API and the training floor call.

Counters of jobs never count a repeated step. Series of a job begin at 0 when it starts and go
five minutes after its end, so that two scrapes see it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Protocol

from prometheus_client import CollectorRegistry, Info, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from gradloom.service.jobs.job import Checkpoint, DiagnosisCode, Job, Metric, Progress
from gradloom.service.jobs.states import Reason, State
from gradloom.service.series import (
    CAUSES,
    PHASES,
    QUEUE_REASONS,
    WORKER_KINDS,
    JobsByState,
    JobSeries,
    ServiceSeries,
)
from gradloom.worker.engine.health import Health

# Layers are unbounded, so each family has series of so many of them.
MOST_LAYERS = 8

OTHER_METHOD = "other"

_KEPT_AFTER_THE_END = timedelta(minutes=5)
# Codes that alerts look at: their series must be there before the first of them.
_CODES = ("OK", "INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED")


class CommittedStep(Protocol):
    """A step that counts; seconds by phase are of the slowest worker."""

    @property
    def step(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def gradient_norm(self) -> float: ...
    @property
    def seconds(self) -> Mapping[str, float]: ...


@dataclass(slots=True)
class _Counted:
    """How far a job's counters are, so that a repeated step is not counted again."""

    step: int
    samples: int


class Metrics:
    """The service's metrics in a registry of their own; every method may be called in any thread.

    count_jobs says how many jobs the store has in each state and is asked at each scrape; build
    is what gradloom_build_info says.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        count_jobs: Callable[[], Mapping[State, int]],
        build: Mapping[str, str],
    ) -> None:
        # prometheus_client leaves this one function without types.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._now = now
        self._lock = Lock()
        self._counted: dict[str, _Counted] = {}
        self._ended: dict[str, datetime] = {}
        self._registry = CollectorRegistry()
        self._registry.register(JobsByState(count_jobs))
        Info("gradloom_build", "The running build.", registry=self._registry).info(dict(build))
        self._jobs = JobSeries(self._registry)
        self._service = ServiceSeries(self._registry)

    def job_started(self, job: Job) -> None:
        """A job is about to be trained, for the first time or again."""
        with self._lock:
            self._ended.pop(job.id, None)
            if job.id in self._counted:
                return
            done = job.progress
            self._counted[job.id] = _Counted(done.step, done.samples) if done else _Counted(0, 0)
        self._jobs.begin(job.id)
        self.state(job)

    def state(self, job: Job) -> None:
        """A job moved to a state."""
        for state in State:
            self._jobs.state.labels(job.id, state).set(state is job.state)
        if job.state.is_final:
            with self._lock:
                self._ended[job.id] = self._now()

    def step_committed(self, job: Job, step: CommittedStep, start: str = "cold") -> None:
        """A step was committed; start is how the job's workers were: warm or cold."""
        now = self._now()
        new = self._newly_counted(job, step.step)
        if new == step.step:  # None was counted before.
            waited = (now - job.create_time).total_seconds()
            self._service.submit_to_first_step.labels(start).observe(waited)
        self._jobs.steps.labels(job.id).inc(new)
        self._jobs.last_step.labels(job.id).set(now.timestamp())
        self._jobs.loss.labels(job.id, "train").set(step.loss)
        self._jobs.learning_rate.labels(job.id).set(step.learning_rate)
        self._jobs.gradient_norm.labels(job.id).set(step.gradient_norm)
        for phase in PHASES:
            seconds = step.seconds.get(phase, 0.0)
            self._jobs.phase_seconds.labels(job.id, phase).inc(seconds)
            self._service.step_seconds.labels(phase).observe(seconds)

    def progressed(self, job: Job, progress: Progress) -> None:
        """A sample of a job's progress was taken."""
        with self._lock:
            counted = self._counted.setdefault(job.id, _Counted(0, 0))
            new = max(0, progress.samples - counted.samples)
            counted.samples += new
        self._jobs.samples.labels(job.id).inc(new)
        self._jobs.epoch.labels(job.id).set(progress.epoch)
        self._jobs.progress.labels(job.id).set(progress.step / max(1, progress.steps))

    def measured(self, job: Job, metrics: Iterable[Metric]) -> None:
        """A split was measured."""
        for metric in metrics:
            if metric.name == "loss":
                self._jobs.loss.labels(job.id, metric.split).set(metric.value)
            else:
                self._jobs.metric.labels(job.id, metric.split, metric.name).set(metric.value)

    def diagnosed(self, job: Job, code: DiagnosisCode) -> None:
        """Something was found wrong with a job's training."""
        self._jobs.diagnoses.labels(job.id, code).inc()

    def looked(self, job: Job, health: Health) -> None:
        """A job's layers were looked at: the series of those furthest out replace the old ones."""
        for family, values in zip(self._jobs.by_layer, _by_layer(health), strict=True):
            family.remove_by_labels({"job_id": job.id})
            for layer in furthest_out(values):
                family.labels(job.id, layer).set(values[layer])

    def workers(self, job: Job, current: int, desired: int) -> None:
        """A job's shards were shared out among so many workers, of so many wanted."""
        for kind, number in zip(WORKER_KINDS, (current, desired), strict=True):
            self._jobs.workers.labels(job.id, kind).set(number)

    def worker_lost(self, job: Job, reason: Reason) -> None:
        """A worker was lost; reasons that lose none are passed over."""
        if cause := CAUSES.get(reason):
            self._jobs.worker_losses.labels(job.id, cause).inc()

    def worker_restarted(self, job: Job) -> None:
        """A worker was started in place of a lost one."""
        self._jobs.worker_restarts.labels(job.id).inc()

    def answer_came_late(self, job: Job) -> None:
        """A worker answered to a round that was over."""
        self._jobs.late_answers.labels(job.id).inc()

    def checkpoint_written(self, job: Job, checkpoint: Checkpoint, seconds: float) -> None:
        """A checkpoint is on disk."""
        self._jobs.checkpoint_time.labels(job.id).set(self._now().timestamp())
        self._jobs.checkpoint_size.labels(job.id).set(checkpoint.size_bytes)
        self._service.checkpoint_seconds.observe(seconds)

    def checkpoint_failed(self, cause: str) -> None:
        """A checkpoint could not be written or used: disk_full, checksum or io."""
        self._service.checkpoint_failures.labels(cause).inc()

    def node_suspected(self) -> None:
        """A node is drained, since workers of several jobs died on it."""
        self._service.suspect_nodes.inc()

    def queue(self, waiting: Mapping[Reason, int]) -> None:
        """So many jobs wait, by reason."""
        for reason in QUEUE_REASONS:
            self._service.queue.labels(reason).set(waiting.get(reason, 0))

    def serves(self, methods: Iterable[str]) -> None:
        """The service has these methods: their series begin at 0."""
        for method in methods:
            self._service.rpcs_started.labels(method)
            for code in _CODES:
                self._service.rpcs.labels(method, code)

    def rpc_started(self, method: str) -> None:
        """A call came in."""
        self._service.rpcs_started.labels(method).inc()

    def rpc_finished(self, method: str, code: str, seconds: float | None) -> None:
        """A call ended; streams have no seconds."""
        self._service.rpcs.labels(method, code).inc()
        if seconds is not None:
            self._service.rpc_seconds.labels(method).observe(seconds)

    def streams(self, method: str, change: int) -> None:
        """A stream was opened (1) or closed (-1)."""
        self._service.rpc_streams.labels(method).inc(change)

    def forget(self, job_id: str) -> None:
        """Removes a job's series."""
        with self._lock:
            self._counted.pop(job_id, None)
            self._ended.pop(job_id, None)
        self._jobs.remove(job_id)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Content type and body of a scrape, in the format an Accept header asks for."""
        for job_id in self._long_ended():
            self.forget(job_id)
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def _newly_counted(self, job: Job, step: int) -> int:
        with self._lock:
            counted = self._counted.setdefault(job.id, _Counted(step - 1, 0))
            new = max(0, step - counted.step)
            counted.step += new
            return new

    def _long_ended(self) -> list[str]:
        now = self._now()
        with self._lock:
            return [id_ for id_, end in self._ended.items() if now - end > _KEPT_AFTER_THE_END]


def furthest_out(values: Mapping[str, float]) -> list[str]:
    """The layers whose values lie furthest from the middle one, as a multiple of it."""
    middle = sorted(values.values())[len(values) // 2] if values else 0.0
    return sorted(values, key=lambda layer: -_distance(values[layer], middle))[:MOST_LAYERS]


def _distance(value: float, middle: float) -> float:
    """How many times one is the other, whichever is larger; what is not finite lies beyond all."""
    if not math.isfinite(value):
        return math.inf
    small, large = sorted((abs(value) + _LEAST, abs(middle) + _LEAST))
    return large / small


def _by_layer(health: Health) -> tuple[dict[str, float], ...]:
    """Values by path: gradient norms, update ratios, shares of dead units."""
    trained = [layer for layer in health.layers if layer.size]
    return (
        {layer.path: layer.gradient_norm for layer in trained},
        {layer.path: layer.update_ratio for layer in trained},
        {layer.path: layer.dead for layer in health.layers if layer.dead is not None},
    )


# Below it, values are all the same to a plot.
_LEAST = 1e-12
