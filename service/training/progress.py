"""How far a run is: committed steps come in, samples for people come out, not too many."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gradloom.service.jobs.job import Metric, Plan, Progress
from gradloom.worker.engine.health import Health

PHASES = ("data", "forward", "backward", "exchange", "update")

_SHORTEST_INTERVAL_SECONDS = 0.5
# A sample every thousandth of the time so far keeps a job of any length below 10,000 samples.
_SHARE_OF_TIME = 1e-3


@dataclass(frozen=True, slots=True)
class StepReport:
    """A committed step, as a worker reports it; seconds by phase are of the slowest worker.

    skipped are the newest steps in a row that changed nothing, this one among them. health is there
    for the steps whose layers were looked at.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    skipped: int = 0
    health: Health | None = None

    def with_seconds(self, seconds: Mapping[str, float]) -> "StepReport":
        """The report with the seconds of more phases."""
        return replace(self, seconds={**seconds, **self.seconds})


def samples_until(plan: Plan, update_rows: int, step: int) -> int:
    """Training rows used by the first step updates; the last batch of an epoch may be smaller."""
    epochs, steps = divmod(step, plan.steps_per_epoch)
    return epochs * plan.training_rows + min(steps * update_rows, plan.training_rows)


class ProgressLog:
    """Decides when a sample is due, and makes it. now is in seconds of a monotonic clock."""

    def __init__(self, plan: Plan, update_rows: int, start_step: int, now: float) -> None:
        self._plan = plan
        self._update_rows = update_rows
        self._begun = self._sampled = now
        self._first_step = self._sampled_step = start_step
        self._rate = 0.0
        self._newest: StepReport | None = None
        self._metrics: dict[tuple[str, str], Metric] = {}
        self._fresh: list[Metric] = []

    def committed(self, report: StepReport) -> None:
        """Takes note of a committed step."""
        self._newest = report

    def skipped(self, step: int) -> None:
        """Takes note of a step that changed nothing; the numbers stay those of the one before."""
        if self._newest is not None:
            self._newest = replace(self._newest, step=step)

    def measured(self, split: str, step: int, values: Mapping[str, float]) -> tuple[Metric, ...]:
        """Takes note of a split's metrics; the next sample has them."""
        epoch = step // self._plan.steps_per_epoch
        metrics = tuple(Metric(name, split, value, step, epoch) for name, value in values.items())
        self._fresh.extend(metrics)
        return metrics

    def is_due(self, now: float) -> bool:
        """Whether a sample should be made: at the first step, with new metrics, or by time."""
        if not self.has_news:
            return False
        interval = max(_SHORTEST_INTERVAL_SECONDS, (now - self._begun) * _SHARE_OF_TIME)
        is_first = self._sampled_step == self._first_step
        return is_first or bool(self._fresh) or now - self._sampled >= interval

    @property
    def has_news(self) -> bool:
        """Whether something happened since the newest sample."""
        newest = self._newest
        return newest is not None and (newest.step != self._sampled_step or bool(self._fresh))

    def sample(self, now: float, workers: int, worker_losses: int) -> Progress:
        """How far the run is now."""
        assert self._newest is not None, "ask is_due first"
        progress = self._progress(self._newest, now)
        self._sampled, self._sampled_step = now, self._newest.step
        metrics, self._fresh = tuple(self._fresh), []
        return replace(progress, metrics=metrics, workers=workers, worker_losses=worker_losses)

    def _progress(self, report: StepReport, now: float) -> Progress:
        plan = self._plan
        samples = samples_until(plan, self._update_rows, report.step)
        since = samples - samples_until(plan, self._update_rows, self._sampled_step)
        if since:
            self._rate = since / max(now - self._sampled, 1e-9)
        return Progress(
            step=report.step,
            steps=plan.steps,
            epoch=min((report.step - 1) // plan.steps_per_epoch + 1, plan.epochs),
            epochs=plan.epochs,
            samples=samples,
            samples_per_second=self._rate,
            loss=report.loss,
            learning_rate=report.learning_rate,
            gradient_norm=report.gradient_norm,
        )
