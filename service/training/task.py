"""What a job comes to for those who compute it: the workers' task and the coordinator's course."""

from collections.abc import Sequence
from pathlib import Path

from gradloom.service.jobs.job import Job, Plan
from gradloom.service.training.coordinator import Course
from gradloom.service.training.policies import NonFinitePolicy
from gradloom.worker.assembly import asked_of, joins_inputs
from gradloom.worker.data.batches import block_bounds
from gradloom.worker.data.errors import DataError
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import request_of
from gradloom.worker.data.survey import Survey, survey_of
from gradloom.worker.engine.arithmetic import power
from gradloom.worker.engine.spec import Learning
from gradloom.worker.messages import Task


def plan_of(job: Job) -> Plan:
    """The plan that was made when the job was accepted."""
    if job.plan is None:
        raise ValueError(f"{job.name} was stored without a plan")
    return job.plan


def task_of(job: Job, roots: Sequence[str]) -> Task:
    """What its workers need to know."""
    spec, plan = job.spec, plan_of(job)
    return Task(
        learning=Learning(
            model=spec.model,
            loss=spec.loss,
            optimizer=spec.optimizer,
            steps=plan.steps,
            seed=spec.seed,
            schedule=spec.schedule,
        ),
        data=spec.data,
        data_sha256=job.receipt.data_sha256,
        roots=tuple(roots),
        batch_size=spec.training.update_rows,
        shards=plan.shards,
        health_interval=spec.health.interval,
        rate_factor=rate_factor(job),
        initial_weights_sha256=job.receipt.initial_weights_sha256,
        survey=_survey(job, roots),
    )


def _survey(job: Job, roots: Sequence[str]) -> Survey | None:
    """What is known of data that is streamed; where it cannot be read, the workers will say so."""
    spec = job.spec
    if spec.data.stream is None:
        return None
    try:
        return survey_of(
            request_of(
                spec.data,
                Roots(tuple(map(Path, roots))),
                asked_of(spec.loss),
                joined=joins_inputs(spec.model),
            ),
            spec.seed,
        )
    except DataError:
        return None


def rate_factor(job: Job) -> float:
    """What its learning rates are multiplied by, after the times it was rolled back."""
    return power(job.spec.training.roll_back_factor, job.receipt.roll_backs)


def course_of(job: Job, start_step: int) -> Course:
    """What is left to do from a step on."""
    plan = plan_of(job)
    return Course(
        steps=plan.steps,
        steps_per_epoch=plan.steps_per_epoch,
        shards=plan.shards,
        workers=min(job.spec.resources.workers, plan.shards),
        start_step=start_step,
        validation_blocks=len(block_bounds(plan.validation_rows)),
        test_blocks=len(block_bounds(plan.test_rows)),
        non_finite=NonFinitePolicy(job.spec.training.on_non_finite, job.receipt.roll_backs),
    )
