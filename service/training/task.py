"""What a job comes to for those who compute it: the workers' task and the coordinator's course."""

from collections.abc import Sequence
from pathlib import Path

from gradloom.service.jobs.job import Job, Plan
from gradloom.service.jobs.states import State
from gradloom.service.training.course import Course
from gradloom.service.training.pace import MOST_STEPS
from gradloom.service.training.policies import NonFinitePolicy
from gradloom.service.training.surroundings import Size
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


# Looks at layers that the answers to a round have room for.
_LAYERS_IN_A_ROUND = 4000


def course_of(job: Job, start_step: int, size: Size) -> Course:
    """What is left to do from a step on, with so many workers."""
    plan, resources = plan_of(job), job.spec.resources
    most = min(size.workers or resources.workers, plan.shards)
    return Course(
        steps=plan.steps,
        steps_per_epoch=plan.steps_per_epoch,
        shards=plan.shards,
        workers=most,
        least_workers=min(size.fewest or resources.fewest, most),
        start_step=start_step,
        validation_blocks=len(block_bounds(plan.validation_rows)),
        test_blocks=len(block_bounds(plan.test_rows)),
        most_steps=_most_steps(job.spec.health.interval, len(plan.layers)),
        is_new=job.state is State.STARTING,
        non_finite=NonFinitePolicy(job.spec.training.on_non_finite, job.receipt.roll_backs),
        seed=job.spec.seed,
        verify_every=job.spec.training.verify_every,
    )


def _most_steps(interval: int, layers: int) -> int:
    """How many steps a round may have, so that what is told of them is not too long."""
    looks = max(1, _LAYERS_IN_A_ROUND // max(layers, 1))
    return min(MOST_STEPS, interval * looks) if interval else MOST_STEPS
