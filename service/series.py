"""The families of metrics: their names, types, labels and buckets.

Labels take values from small fixed sets, but for the id of a live job. There is no tenant label
yet, since there are no tenants.
"""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gradloom.service.jobs.job import DiagnosisCode
from gradloom.service.jobs.states import Reason, State

PHASES = ("data", "forward", "backward", "exchange", "update")

WORKER_KINDS = ("current", "desired")
CAUSES = {
    Reason.WORKER_LOST: "killed",
    Reason.WORKER_ERROR: "error",
    Reason.WORKER_REFUSED: "refused",
    Reason.VERSION_SKEW: "refused",
    Reason.WORKER_START_FAILED: "start_failed",
    Reason.WORKER_FROZEN: "frozen",
    Reason.NETWORK_CUT: "network_cut",
    Reason.OUT_OF_MEMORY: "out_of_memory",
    Reason.NODE_SUSPECT: "suspect",
    Reason.BITS_DIFFER: "bits_differ",
}
_CHECKPOINT_CAUSES = ("disk_full", "checksum", "io")
QUEUE_REASONS = (Reason.CREATED, Reason.WAITING_FOR_CAPACITY, Reason.INSUFFICIENT_CAPACITY)
_STARTS = ("cold", "warm")

_STEP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CHECKPOINT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_START_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_RPC_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class JobsByState(Collector):
    """Counts jobs in the store whenever it is asked, so that the number cannot drift."""

    def __init__(self, count: Callable[[], Mapping[State, int]]) -> None:
        self._count = count

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The family without samples: registering must not ask the store."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One sample a state."""
        family, counts = self._family(), self._count()
        for state in State:
            family.add_metric([state], counts.get(state, 0))
        yield family

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily("gradloom_jobs", "Jobs in the store.", labels=["state"])


class JobSeries:
    """Families with a series for each live job."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"gradloom_job_{name}", meaning, ("job_id", *labels), registry=registry)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"gradloom_job_{name}", meaning, ("job_id", *labels), registry=registry)

        self.state = gauge("state", "1 for the state a job is in.", "state")
        self.epoch = gauge("epoch", "Epoch under way, from 1.")
        self.progress = gauge("progress_ratio", "Committed steps of those planned.")
        self.steps = counter("steps_total", "Committed steps; a repeated one counts once.")
        self.samples = counter("samples_total", "Training rows of committed steps.")
        self.last_step = gauge("last_step_timestamp_seconds", "When the newest step was committed.")
        self.loss = gauge("loss", "Newest loss.", "split")
        self.metric = gauge("metric", "Newest value of a metric.", "split", "metric")
        self.learning_rate = gauge("learning_rate", "Newest learning rate.")
        self.gradient_norm = gauge("gradient_norm", "Norm of the newest gradient, unclipped.")
        self.layer_gradient_norm = gauge(
            "layer_gradient_norm", "Norm of a layer's gradient, unclipped.", "layer"
        )
        self.layer_update_ratio = gauge(
            "layer_update_ratio", "Norm of a layer's update over that of its weights.", "layer"
        )
        self.layer_dead_units = gauge(
            "layer_dead_units_ratio", "Share of a layer's units that are 0 for a batch.", "layer"
        )
        self.diagnoses = counter("diagnoses_total", "What was found wrong.", "diagnosis")
        self.phase_seconds = counter("phase_seconds_total", "Time of steps by phase.", "phase")
        self.workers = gauge("workers", "Workers there are and are wanted.", "kind")
        self.worker_losses = counter("worker_losses_total", "Workers lost, by cause.", "cause")
        self.worker_restarts = counter(
            "worker_restarts_total", "Workers started in place of lost ones."
        )
        self.late_answers = counter(
            "late_answers_total", "Answers of workers to rounds that were over; none is used."
        )
        self.checkpoint_time = gauge(
            "checkpoint_timestamp_seconds", "When the newest checkpoint was written."
        )
        self.checkpoint_size = gauge("checkpoint_size_bytes", "Size of the newest checkpoint.")

    @property
    def by_layer(self) -> tuple[Gauge, ...]:
        """The families with a series for some of a job's layers."""
        return self.layer_gradient_norm, self.layer_update_ratio, self.layer_dead_units

    def begin(self, job_id: str) -> None:
        """Starts the counters of a job at 0: one born at 1 would show no increase."""
        for family in (self.steps, self.samples, self.worker_restarts, self.late_answers):
            family.labels(job_id)
        for phase in PHASES:
            self.phase_seconds.labels(job_id, phase)
        for cause in CAUSES.values():
            self.worker_losses.labels(job_id, cause)
        for kind in WORKER_KINDS:
            self.workers.labels(job_id, kind)
        for code in DiagnosisCode:
            self.diagnoses.labels(job_id, code)
        self.progress.labels(job_id)

    def remove(self, job_id: str) -> None:
        """Removes all series of a job."""
        for family in vars(self).values():
            family.remove_by_labels({"job_id": job_id})


class ServiceSeries:
    """Families of the service as a whole."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.step_seconds = Histogram(
            "gradloom_step_seconds",
            "Time of a step by phase, over all jobs.",
            ("phase",),
            buckets=_STEP_BUCKETS,
            registry=registry,
        )
        self.submit_to_first_step = Histogram(
            "gradloom_submit_to_first_step_seconds",
            "From a job's creation to its first committed step.",
            ("start",),
            buckets=_START_BUCKETS,
            registry=registry,
        )
        self.checkpoint_seconds = Histogram(
            "gradloom_checkpoint_seconds",
            "Time to write a checkpoint to disk.",
            buckets=_CHECKPOINT_BUCKETS,
            registry=registry,
        )
        self.checkpoint_failures = Counter(
            "gradloom_checkpoint_failures_total",
            "Checkpoints that could not be written or used.",
            ("cause",),
            registry=registry,
        )
        self.queue = Gauge(
            "gradloom_queue_jobs", "Jobs that wait, by reason.", ("reason",), registry=registry
        )
        self.suspect_nodes = Counter(
            "gradloom_suspect_nodes_total",
            "Nodes drained since workers of several jobs died on them.",
            registry=registry,
        )
        self.rpcs_started = Counter(
            "gradloom_rpcs_started_total", "Calls that came in.", ("method",), registry=registry
        )
        self.rpcs = Counter(
            "gradloom_rpcs_total", "Calls that ended.", ("method", "code"), registry=registry
        )
        self.rpc_seconds = Histogram(
            "gradloom_rpc_seconds",
            "Time of a call; streams are not among them.",
            ("method",),
            buckets=_RPC_BUCKETS,
            registry=registry,
        )
        self.rpc_streams = Gauge(
            "gradloom_rpc_streams", "Open streams.", ("method",), registry=registry
        )
        self._begin()

    def _begin(self) -> None:
        for family, values in (
            (self.step_seconds, PHASES),
            (self.submit_to_first_step, _STARTS),
            (self.checkpoint_failures, _CHECKPOINT_CAUSES),
            (self.queue, QUEUE_REASONS),
        ):
            for value in values:
                family.labels(value)
