"""Ranges of a spec's numbers that neither model nor data decide."""

from collections.abc import Iterator
from dataclasses import dataclass

from gradloom.service.errors import SpecFault
from gradloom.service.jobs import limits
from gradloom.service.jobs.spec import Checkpoints, HealthSpec, Resources, Training
from gradloom.worker.data.batches import default_shards, steps_per_epoch


@dataclass(frozen=True, slots=True)
class Length:
    """What a sound training spec comes to on so many rows."""

    shards: int
    steps: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """Epochs in all, the last one perhaps in part."""
        return -(-self.steps // self.steps_per_epoch)


def length_of(training: Training, training_rows: int) -> Length:
    """Shards and steps, with what was left out filled in."""
    an_epoch = steps_per_epoch(training_rows, training.update_rows)
    steps = training.steps or training.epochs * an_epoch
    return Length(shards_of(training), steps, an_epoch)


def shards_of(training: Training) -> int:
    """The virtual shards of an update: those of its batches, the default where none are given."""
    return training.accumulation_steps * _batch_shards(training)


def _batch_shards(training: Training) -> int:
    return training.shards or default_shards(training.batch_size)


def seed_faults(seed: int) -> Iterator[SpecFault]:
    """What is wrong with a seed."""
    if not 0 <= seed <= limits.SEED:
        yield SpecFault("seed", f"seed is {seed}: use 0 to {limits.SEED}.")


def training_faults(training: Training, training_rows: int | None) -> Iterator[SpecFault]:
    """What is wrong with a training spec; rows are None where the data cannot be read."""
    yield from _duration_faults(training)
    yield from _batch_faults(training, training_rows)
    yield from _shard_faults(training)
    yield from _accumulation_faults(training, training_rows)
    if not 0 < training.roll_back_factor <= 1:
        sentence = f"roll_back_factor is {training.roll_back_factor:g}: {_FACTOR}."
        yield SpecFault("training.roll_back_factor", sentence)
    if not 0 <= training.verify_every <= limits.LENGTH:
        sentence = f"verify_every is {training.verify_every}: {_INTERVAL}."
        yield SpecFault("training.verify_every", sentence)
    if training_rows and training.update_rows > 0 and 0 < training.epochs <= limits.LENGTH:
        yield from _total_faults(training, training_rows)


def resources_faults(resources: Resources, training: Training | None) -> Iterator[SpecFault]:
    """What is wrong with resources; training is None where it cannot be read."""
    if resources.workers < 1:
        sentence = f"workers is {resources.workers}: give at least 1."
        yield SpecFault("resources.workers", sentence)
    elif training and training.update_rows > 0 and resources.workers > shards_of(training) > 0:
        yield SpecFault("resources.workers", _too_many_workers(resources.workers, training))
    yield from _bounds_faults(resources, training)
    if resources.max_failures < 0:
        sentence = f"max_failures is {resources.max_failures}: give 0 or more."
        yield SpecFault("resources.max_failures", sentence)


def _bounds_faults(resources: Resources, training: Training | None) -> Iterator[SpecFault]:
    """That 1 <= min_workers <= workers <= max_workers <= shards, where the bounds are given."""
    fewest, workers, most = resources.min_workers, resources.workers, resources.max_workers
    for name, value in (("min_workers", fewest), ("max_workers", most)):
        if value < 0:
            sentence = f"{name} is {value}: give at least 1, or 0 for as many as workers."
            yield SpecFault(f"resources.{name}", sentence)
    if fewest > workers > 0:
        sentence = (
            f"min_workers is {fewest}, more than workers, {workers}: lower it or raise workers."
        )
        yield SpecFault("resources.min_workers", sentence)
    if 0 < most < workers:
        sentence = (
            f"max_workers is {most}, fewer than workers, {workers}: raise it or lower workers."
        )
        yield SpecFault("resources.max_workers", sentence)
    elif training and training.update_rows > 0 and most > shards_of(training) > 0:
        yield SpecFault("resources.max_workers", _too_many_workers(most, training))


def checkpoints_faults(checkpoints: Checkpoints) -> Iterator[SpecFault]:
    """What is wrong with checkpoints."""
    if not 1 <= checkpoints.interval <= limits.INTERVAL_SECONDS:
        sentence = (
            f"interval is {checkpoints.interval:g}s: give 1s to {limits.INTERVAL_SECONDS:,}s."
        )
        yield SpecFault("checkpoints.interval", sentence)
    if checkpoints.keep_last < 1:
        sentence = f"keep_last is {checkpoints.keep_last}: at least one checkpoint must stay."
        yield SpecFault("checkpoints.keep_last", sentence)


def health_faults(health: HealthSpec) -> Iterator[SpecFault]:
    """What is wrong with health."""
    if not 0 <= health.interval <= limits.LENGTH:
        sentence = f"interval is {health.interval}: {_INTERVAL}."
        yield SpecFault("health.interval", sentence)


def _duration_faults(training: Training) -> Iterator[SpecFault]:
    if training.epochs and training.steps:
        yield SpecFault("training", "Give epochs or steps, not both.")
    elif not training.epochs and not training.steps:
        yield SpecFault("training", "Neither epochs nor steps is given: give one of them.")
    for name, value in (("epochs", training.epochs), ("steps", training.steps)):
        if not 0 <= value <= limits.LENGTH:
            sentence = f"{name} is {value}: use 1 to {limits.LENGTH:,}."
            yield SpecFault(f"training.{name}", sentence)


def _batch_faults(training: Training, training_rows: int | None) -> Iterator[SpecFault]:
    field, batch_size = "training.batch_size", training.batch_size
    if batch_size < 1:
        yield SpecFault(field, f"batch_size is {batch_size}: give at least 1.")
    elif training_rows is not None and batch_size > training_rows:
        sentence = (
            f"batch_size is {batch_size}, only {training_rows} training rows are left after the "
            f"split: use at most {training_rows}."
        )
        yield SpecFault(field, sentence)


def _shard_faults(training: Training) -> Iterator[SpecFault]:
    shards = training.shards
    if not 0 <= shards <= limits.SHARDS:
        yield SpecFault("training.shards", f"shards is {shards}: use 1 to {limits.SHARDS}.")
    elif 0 < training.batch_size < shards:
        sentence = (
            f"{shards} shards need at least {shards} rows a batch: "
            f"batch_size is {training.batch_size}."
        )
        yield SpecFault("training.shards", sentence)


def _accumulation_faults(training: Training, training_rows: int | None) -> Iterator[SpecFault]:
    field, batches, rows = "training.accumulation_steps", training.accumulation_steps, training_rows
    if batches < 1:
        yield SpecFault(field, f"accumulation_steps is {batches}: give at least 1.")
    elif batches == 1 or training.batch_size < 1:
        return
    elif rows is not None and training.batch_size <= rows < training.update_rows:
        sentence = (
            f"{batches} batches of {training.batch_size} are {training.update_rows} rows, there "
            f"are only {rows} training rows: accumulate at most {rows // training.batch_size}."
        )
        yield SpecFault(field, sentence)
    elif shards_of(training) > limits.SHARDS >= training.shards:
        sentence = (
            f"{batches} batches of {_batch_shards(training)} shards are {shards_of(training)} "
            f"shards, {limits.SHARDS:,} are allowed: lower training.shards or accumulate less."
        )
        yield SpecFault(field, sentence)


_FACTOR = "it multiplies the rate, more than 0 and at most 1"
_INTERVAL = f"use 1 to {limits.LENGTH:,}, or 0 for never"


def _total_faults(training: Training, training_rows: int) -> Iterator[SpecFault]:
    steps = training.epochs * steps_per_epoch(training_rows, training.update_rows)
    if steps > limits.LENGTH:
        sentence = f"{training.epochs:,} epochs are {steps:,} steps, {limits.LENGTH:,} are allowed."
        yield SpecFault("training.epochs", sentence)


def _too_many_workers(workers: int, training: Training) -> str:
    shards = shards_of(training)
    which = "" if training.shards else f" (what batch_size {training.batch_size} comes to)"
    few = f"{shards} shard{'' if shards == 1 else 's'}{which}"
    return (
        f"{workers} workers cannot share {few}: "
        f"set training.shards: {workers} or use {shards} or fewer workers."
    )
