"""What a seed stands for: nodes, jobs, what their users do, and which faults strike when."""

from dataclasses import dataclass

from gradloom.service.jobs.job import Job, Plan, Receipt
from gradloom.service.jobs.spec import (
    Checkpoints,
    JobSpec,
    OnNonFinite,
    Resources,
    Training,
)
from gradloom.worker.data.batches import EVALUATION_ROWS, steps_per_epoch
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.profile import BITS_VERSION
from gradloom.worker.engine.spec import Adam, Dense, Model, Optimizer, SoftmaxCrossEntropy
from tests.simulation.arithmetic import Sum
from tests.simulation.chance import Chance
from tests.simulation.cluster import Node

# Faults begin before this, and have ended soon after.
TROUBLED_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as its user wants it, and when; what its steps take is seconds a shard."""

    name: str
    recipe: Sum
    spec: JobSpec
    submit_at: float
    shard_seconds: float
    request_id: str
    cancel_at: float | None = None
    is_asked_twice: bool = False
    resize_at: float | None = None
    resize_to: int = 1

    @property
    def id(self) -> str:
        """The last part of its name."""
        return self.name.removeprefix("jobs/")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong: what, when and for how long; place chooses whom it strikes."""

    kind: str
    at: float
    seconds: float
    place: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that is decided before a run begins."""

    nodes: tuple[Node, ...]
    cpus: int
    latency: float
    jobs: tuple[Wanted, ...]
    faults: tuple[Fault, ...]
    strikes: int
    crashes: int
    is_encoded: bool


KINDS = (
    "kill",
    "kill",
    "kill all",
    "freeze",
    "freeze in a store",
    "freeze in a store",
    "slow",
    "cut one way",
    "cut both ways",
    "cut off the service",
    "lose node",
    "crash",
    "crash",
    "drain",
    "store away",
    "disk full",
    "damage a checkpoint",
    "clock jump",
)


def scenario_of(chance: Chance) -> Scenario:
    """The scenario of a seed."""
    nodes = tuple(
        Node(f"node-{number}", has_room=chance.random() > 0.07)
        for number in range(chance.choice((1, 1, 2, 2, 3)))
    )
    is_slow = chance.random() < 0.3
    jobs = tuple(
        _job(chance, number, is_slow=is_slow)
        for number in range(chance.choice((1, 1, 2, 3) if not is_slow else (1, 1, 1, 2)))
    )
    rolls_back = any(j.spec.training.on_non_finite is OnNonFinite.ROLL_BACK for j in jobs)
    faults = tuple(_fault(chance, rolls_back=rolls_back) for _ in range(chance.choice(range(6))))
    return Scenario(
        nodes,
        cpus=chance.randint(2, 6),
        latency=chance.between(1e-4, 2e-2),
        jobs=jobs,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        strikes=chance.choice((0, 0, 1, 2, 4)),
        crashes=chance.choice((0, 0, 0, 1, 3)),
        is_encoded=chance.random() < 0.1,
    )


def _fault(chance: Chance, *, rolls_back: bool) -> Fault:
    kind = chance.choice(KINDS)
    if rolls_back and kind in {"disk full", "damage a checkpoint"}:
        # Where the end of an epoch cannot be kept, an earlier one is gone back to, and told.
        kind = "kill"
    at = TROUBLED_SECONDS * chance.random() ** 2
    return Fault(kind, at, chance.between(0.2, 30.0), chance.randrange(1000))


def _job(chance: Chance, number: int, *, is_slow: bool) -> Wanted:
    rows = chance.randint(12, 60)
    batch_size = chance.randint(4, 20)
    epochs = chance.randint(1, 4)
    shards = chance.choice((1, 2, 3, 4, 5, 7, 8))
    per_epoch = steps_per_epoch(rows, batch_size)
    steps = epochs * per_epoch
    wanted = chance.choice((*OnNonFinite, OnNonFinite.FAIL, OnNonFinite.FAIL))
    recipe = Sum(
        seed=chance.getrandbits(32),
        rows=rows,
        batch_size=batch_size,
        shards=shards,
        steps=steps,
        validation_blocks=chance.choice((0, 1, 3)),
        is_on_plateau=chance.random() < 0.5,
        skips=_skips(chance, wanted, steps),
    )
    return Wanted(
        name=f"jobs/job-{number}",
        recipe=recipe,
        spec=_spec(chance, recipe, wanted, epochs),
        submit_at=0.0 if number == 0 else 10.0 * chance.random(),
        shard_seconds=chance.between(0.2 if is_slow else 1e-3, 1.0 if is_slow else 0.2) / shards,
        request_id=f"request-{number}",
        cancel_at=30.0 * chance.random() if chance.random() < 0.05 else None,
        is_asked_twice=chance.random() < 0.3,
        resize_at=10.0 * chance.random() if chance.random() < 0.2 else None,
        resize_to=chance.randint(1, 5),
    )


def _skips(chance: Chance, wanted: OnNonFinite, steps: int) -> tuple[tuple[int, int], ...]:
    """Steps that are not finite, for the few jobs that meet any."""
    if chance.random() < 0.7:
        return ()
    most = 1 if wanted is OnNonFinite.FAIL else 3
    at = sorted(chance.sample(range(1, steps + 1), min(most, steps)))
    until = 99 if wanted is not OnNonFinite.ROLL_BACK else chance.choice((1, 2, 99))
    return tuple((step, until) for step in at)


def _spec(chance: Chance, recipe: Sum, wanted: OnNonFinite, epochs: int) -> JobSpec:
    most = min(5, recipe.shards)
    workers = max(chance.randint(1, most), chance.randint(1, most))
    return JobSpec(
        name="simulated",
        seed=recipe.seed,
        data=DataSpec(path="rows.npz", inputs=("x",), target="y"),
        model=Model((Dense(2),)),
        loss=SoftmaxCrossEntropy(),
        optimizer=Optimizer(Adam(0.01)),
        training=Training(
            batch_size=recipe.batch_size,
            epochs=epochs,
            shards=recipe.shards,
            on_non_finite=wanted,
            verify_every=(0, 1, 2, 5)[recipe.seed % 4],
        ),
        resources=Resources(
            workers=workers,
            max_failures=100,
            min_workers=chance.choice((0, 1, workers)),
            max_workers=chance.choice((0, workers)),
        ),
        checkpoints=Checkpoints(
            interval=chance.between(1.0, 10.0), keep_last=chance.choice((1, 2, 3))
        ),
    )


def job_of(wanted: Wanted, now: object) -> Job:
    """The job as the API would create it."""
    recipe, spec = wanted.recipe, wanted.spec
    per_epoch = steps_per_epoch(recipe.rows, recipe.batch_size)
    plan = Plan(
        layers=(),
        parameters=4,
        shards=recipe.shards,
        steps=recipe.steps,
        steps_per_epoch=per_epoch,
        epochs=spec.training.epochs,
        training_rows=recipe.rows,
        validation_rows=recipe.validation_blocks * EVALUATION_ROWS,
        test_rows=0,
        memory_bytes=1000,
    )
    receipt = Receipt(data_sha256="da7a", spec_sha256="5bec", bits_version=BITS_VERSION)
    return Job(wanted.name, f"uid-{wanted.id}", spec, now, now, plan=plan, receipt=receipt)  # type: ignore[arg-type]
