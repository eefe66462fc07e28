"""A step that is not finite changes nothing and is located, the same on any number of workers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradloom.worker.assembly import TARGET_KINDS, data_sha256
from gradloom.worker.data.batches import shard_bounds
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.spec import DataSpec
from gradloom.worker.engine.spec import (
    ConstantSchedule,
    Dense,
    Model,
    Optimizer,
    ReduceOnPlateauSchedule,
    Sgd,
)
from gradloom.worker.messages import Content, Locate, Snapshot, Task, Train
from tests.worker.crew import Crew
from tests.worker.jobs import LEARNING

PLANTED = 37
DATA = DataSpec(target="labels", path="rows.npz", inputs=("points",))
LEARNING_HERE = replace(LEARNING, model=Model((Dense(8), Dense(3))), optimizer=Optimizer(Sgd(0.1)))
SHARDS = 8


def task_with(folder: Path, planted: float) -> Task:
    """110 rows, one of which holds a huge number that overflows in the first layer."""
    random = np.random.Generator(np.random.Philox(1))
    points = random.normal(size=(110, 2)).astype(np.float32)
    points[PLANTED] = planted
    np.savez(folder / "rows.npz", points=points, labels=random.integers(0, 3, 110))
    kind = TARGET_KINDS[type(LEARNING.loss)]
    summary = prepare(DATA, Roots((folder,)), seed=LEARNING.seed, kind=kind).summary
    return Task(LEARNING_HERE, DATA, data_sha256(summary), (str(folder),), 24, SHARDS)


def run(task: Task, workers: int, steps: int = 10) -> tuple[list[object], list[int], object]:
    """What is located, after which step, and the weights' hash in the end."""
    crew = Crew(task, workers)
    skipped: list[int] = []
    located: list[object] = []
    step = 0
    while step < steps:
        *_, newest = crew.train(step, steps)
        step = newest["step"]
        if newest["skipped"]:
            skipped.append(step)
            located += [answer.facts["location"] for answer in crew.all(Locate(), step)]
    return located, skipped, crew.weights(steps)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, list[object], list[int], object]:
    task = task_with(tmp_path_factory.mktemp("data"), 3.3e38)
    return task, *run(task, 1)


def test_the_planted_row_is_named_with_shard_and_layer(
    alone: tuple[Task, list[object], list[int], object],
) -> None:
    _, located, skipped, _ = alone
    assert len(skipped) == 2  # once an epoch of 5 steps
    for location in located:
        assert isinstance(location, dict)
        assert (location["path"], location["what"]) == ("model.layers[0].dense", "output")
        assert (location["rows"], location["row_count"]) == ([PLANTED], 1)
        span = (location["first_row"], location["last_row"] + 1)
        assert span in (shard_bounds(rows, SHARDS)[location["shard"]] for rows in (24, 14))


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_any_number_of_workers_skips_and_locates_alike(
    alone: tuple[Task, list[object], list[int], object], workers: int
) -> None:
    task, located, skipped, weights = alone
    locations, steps, found = run(task, workers)
    assert (steps, found) == (skipped, weights)
    assert locations == [location for location in located for _ in range(workers)]


def test_a_rate_a_thousand_times_too_high_comes_to_a_layer(tmp_path: Path) -> None:
    task = task_with(tmp_path, 1.0)
    wild = replace(LEARNING_HERE, optimizer=Optimizer(Sgd(1000.0)))
    located, skipped, _ = run(replace(task, learning=wild), 1, steps=40)
    assert skipped and located[0]


def test_a_smaller_rate_factor_is_a_smaller_rate(tmp_path: Path) -> None:
    task = task_with(tmp_path, 1.0)
    halved = replace(LEARNING_HERE, optimizer=Optimizer(Sgd(0.05)))
    assert run(replace(task, rate_factor=0.5), 1)[2] == run(replace(task, learning=halved), 1)[2]
    assert run(replace(task, rate_factor=0.5), 1)[2] != run(task, 1)[2]


def test_a_validation_loss_that_comes_with_an_order_lowers_the_rate_of_the_next_step(
    tmp_path: Path,
) -> None:
    task = task_with(tmp_path, 1.0)
    schedule = ReduceOnPlateauSchedule(factor=0.5, patience=0)
    learning = replace(LEARNING_HERE, schedule=schedule)
    crew = Crew(replace(task, learning=learning))
    measured: list[tuple[tuple[int, float], ...]]
    measured = [(), ((1, 0.5),), ((1, 0.5), (2, 0.6)), ((2, 0.6), (3, 0.7)), ((3, 0.7),)]
    commits: list[Any] = [
        crew.order(0, Train(1), step, measured=losses).facts["commits"]
        for step, losses in enumerate(measured)
    ]
    assert [commit["learning_rate"] for (commit,) in commits] == [0.1, 0.1, 0.05, 0.025, 0.025]


def test_a_last_update_that_overflows_changes_nothing(tmp_path: Path) -> None:
    """The gradient is finite; only the weights that it leads to are not."""
    task = task_with(tmp_path, 1.0)
    optimizer = Optimizer(Sgd(1000.0, weight_decay=3e37))
    learning = replace(LEARNING_HERE, optimizer=optimizer, schedule=ConstantSchedule())
    last, longer = (replace(task, learning=replace(learning, steps=steps)) for steps in (1, 2))
    one, other = Crew(last), Crew(longer)
    skipped = [crew.train(0, 1)[0]["skipped"] for crew in (one, other)]
    state = Snapshot(Content.STATE)
    answers = [crew.order(0, state, 1) for crew in (one, other)]
    assert [answer.facts["is_finite"] for answer in answers] == [True, False]
    assert skipped == [1, 0]
    assert one.order(0, Locate(), 1).facts["location"] is None
    other.train(1, 2)
    location: Any = other.order(0, Locate(), 2).facts["location"]
    assert location["what"] == "weights"
