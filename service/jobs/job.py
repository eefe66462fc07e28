"""A job as the fold of its events: an event comes in, the job as it then is comes out."""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from gradloom.service.errors import WrongState
from gradloom.service.jobs.spec import JobSpec, Resources
from gradloom.service.jobs.states import TRANSITIONS, Reason, State

# A job keeps the newest; all of them are in its history.
MOST_DIAGNOSES = 50


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of one metric on one split, and the step of the weights it was measured with."""

    name: str
    split: str
    value: float
    step: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is; counts committed steps only."""

    step: int
    steps: int
    epoch: int
    epochs: int
    samples: int
    samples_per_second: float
    loss: float
    learning_rate: float
    gradient_norm: float
    metrics: tuple[Metric, ...] = ()
    workers: int = 0
    worker_losses: int = 0


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state."""

    state: State
    reason: Reason
    message: str
    time: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that workers were started for a job."""

    number: int
    start_time: datetime
    start_step: int = 0
    end_time: datetime | None = None
    cause: Reason | None = None
    message: str = ""

    @property
    def found_a_place(self) -> bool:
        """Whether the job had its workers, and did not go back to the queue instead."""
        return self.cause not in (Reason.INSUFFICIENT_CAPACITY, Reason.RAY_UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which worker computes which shards."""

    worker: int
    node: str
    pid: int
    first_shard: int
    shards: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What a queued job waits for."""

    position: int
    blocked_by: tuple[str, ...]
    wait_start_time: datetime


@dataclass(frozen=True, slots=True)
class PlanLayer:
    """One layer of a plan; FLOPs a row, shape without the row axis."""

    path: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    forward_flops: int
    backward_flops: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a spec comes to."""

    layers: tuple[PlanLayer, ...]
    parameters: int
    shards: int
    steps: int
    steps_per_epoch: int
    epochs: int
    training_rows: int
    validation_rows: int
    test_rows: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the result depends on, and its hash."""

    data_sha256: str = ""
    spec_sha256: str = ""
    gradloom_version: str = ""
    bits_version: int = 0
    profile: str = ""
    selftest_sha256: str = ""
    weights_sha256: str = ""
    model_path: str = ""
    roll_backs: int = 0
    initial_weights_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on disk."""

    step: int
    size_bytes: int
    sha256: str


class DiagnosisCode(StrEnum):
    """What may be wrong with a training (see jobs.proto)."""

    VANISHING = "VANISHING"
    EXPLODING = "EXPLODING"
    DEAD_UNITS = "DEAD_UNITS"
    SATURATED = "SATURATED"
    SYMMETRY = "SYMMETRY"
    NON_FINITE = "NON_FINITE"
    NOT_LEARNING = "NOT_LEARNING"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Something wrong with a training that goes on.

    layers are paths in the spec, the worst first; none where it is the whole model. evidence is a
    sentence with numbers, advice one that says what to try.
    """

    code: DiagnosisCode
    layers: tuple[str, ...]
    evidence: str
    advice: str
    step: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The job moves to a state."""

    state: State
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progressed:
    """Training went on; metrics given replace those of the same name and split."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class CheckpointWritten:
    """A checkpoint is on disk."""

    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class IncidentHappened:
    """Something went wrong and was dealt with; worker is -1 where none is concerned."""

    reason: Reason
    message: str
    worker: int = -1
    node: str = ""
    step: int = 0


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """Something is found wrong with the training, for the first time, again, or worse."""

    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class ResourcesChanged:
    """The user wants the job to have other workers from now on."""

    resources: Resources


Event = (
    StateChanged | Progressed | CheckpointWritten | IncidentHappened | Diagnosed | ResourcesChanged
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in a job's history; job is set for a change of state: the job as it then was."""

    revision: int
    time: datetime
    event: Event
    job: "Job | None" = None


@dataclass(frozen=True, slots=True)
class Job:
    """A training job; name is jobs/{id}, revision that of its newest event."""

    name: str
    uid: str
    spec: JobSpec
    create_time: datetime
    update_time: datetime
    labels: tuple[tuple[str, str], ...] = ()
    state: State = State.QUEUED
    reason: Reason = Reason.CREATED
    message: str = ""
    revision: int = 0
    transitions: tuple[Transition, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    queue: Queue | None = None
    progress: Progress | None = None
    measured: tuple[Metric, ...] = ()
    best: Metric | None = None
    plan: Plan | None = None
    receipt: Receipt = Receipt()
    diagnoses: tuple[Diagnosis, ...] = ()
    start_time: datetime | None = None
    end_time: datetime | None = None

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.removeprefix("jobs/")

    @property
    def metrics(self) -> dict[str, float]:
        """Newest value of each metric, by split/name, such as validation/accuracy."""
        return {f"{metric.split}/{metric.name}": metric.value for metric in self.measured}


def apply(job: Job, event: Event, time: datetime) -> Job:
    """The job after the event, one revision on.

    Raises WrongState where the table of moves forbids a change of state.
    """
    job = replace(job, revision=job.revision + 1, update_time=time)
    match event:
        case StateChanged():
            return _moved(job, event, time)
        case Progressed(progress):
            return _progressed(job, progress)
        case Diagnosed(diagnosis):
            return replace(job, diagnoses=(*job.diagnoses, diagnosis)[-MOST_DIAGNOSES:])
        case ResourcesChanged(resources):
            return replace(job, spec=replace(job.spec, resources=resources))
        case _:
            return job


def _moved(job: Job, event: StateChanged, time: datetime) -> Job:
    if event.state not in TRANSITIONS[job.state]:
        raise WrongState(job.name, state=job.state, needs=_sources(event.state))
    transition = Transition(event.state, event.reason, event.message, time, job.revision)
    return replace(
        job,
        state=event.state,
        reason=event.reason,
        message=event.message,
        transitions=(*job.transitions, transition),
        queue=None,
        assignments=() if event.state.is_final else job.assignments,
        start_time=job.start_time or (time if event.state is State.STARTING else None),
        end_time=time if event.state.is_final else None,
    )


def _sources(state: State) -> tuple[State, ...]:
    return tuple(source for source, targets in TRANSITIONS.items() if state in targets)


def _progressed(job: Job, progress: Progress) -> Job:
    measured = {(metric.split, metric.name): metric for metric in job.measured}
    measured |= {(metric.split, metric.name): metric for metric in progress.metrics}
    return replace(
        job,
        progress=progress,
        measured=tuple(measured.values()),
        best=_best(job.best, progress.metrics),
    )


def _best(best: Metric | None, metrics: tuple[Metric, ...]) -> Metric | None:
    """The better of the best so far and a new validation metric; the first of equals stays."""
    for metric in metrics:
        if metric.split == "validation" and _is_better(metric, best):
            best = metric
    return best


def _is_better(metric: Metric, best: Metric | None) -> bool:
    sign = _BETTER.get(metric.name, 0.0)
    if sign == 0 or not math.isfinite(metric.value):
        return False
    return best is None or sign * (metric.value - best.value) > 0


# The metrics that say which weights are best: the sign says whether more is better.
_BETTER = {"accuracy": 1.0, "rmse": -1.0}
