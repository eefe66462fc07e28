"""A step that is not finite changes nothing and is located, the same on any number of workers."""

from dataclasses import replace
from pathlib import Path

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
from gradloom.worker.messages import Compute, Content, Locate, Order, Snapshot, Task, decode
from gradloom.worker.server import Server
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
    servers = [Server() for _ in range(workers)]
    for server in servers:
        server.answer((task, None))
    roots: tuple[bytes, ...] = ()
    skipped: list[int] = []
    located: list[object] = []
    for step in range(steps):
        orders = [
            Order(
                step, step, Compute(i * SHARDS // workers, (i + 1) * SHARDS // workers), None, roots
            )
            for i in range(workers)
        ]
        roots = tuple(s.answer(order) for s, order in zip(servers, orders, strict=True))
        commits = [decode(root).facts["commit"] for root in roots]
        if step and commits[0]["skipped"]:  # type: ignore[index]
            skipped.append(step)
            located += [
                decode(s.answer(Order(99, step, Locate()))).facts["location"] for s in servers
            ]
    model = decode(servers[0].answer(Order(100, steps, Snapshot(Content.MODEL), None, roots)))
    return located, skipped, model.facts["weights_sha256"]


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
    server = Server()
    server.answer((replace(task, learning=learning), None))
    rates, roots = [], ()
    measured = [(), (), ((1, 0.5),), ((1, 0.5), (2, 0.6)), ((2, 0.6), (3, 0.7)), ((3, 0.7),)]
    for step, losses in enumerate(measured):
        order = Order(step, step, Compute(0, SHARDS), None, roots, losses)
        roots = (server.answer(order),)
        commit = decode(roots[0]).facts["commit"]
        rates.append(commit["learning_rate"] if commit else None)  # type: ignore[index]
    assert rates == [None, 0.1, 0.1, 0.05, 0.025, 0.025]


def test_a_last_update_that_overflows_changes_nothing(tmp_path: Path) -> None:
    """The gradient is finite; only the weights that it leads to are not."""
    task = task_with(tmp_path, 1.0)
    optimizer = Optimizer(Sgd(1000.0, weight_decay=3e37))
    learning = replace(LEARNING_HERE, optimizer=optimizer, schedule=ConstantSchedule())
    last, longer = (replace(task, learning=replace(learning, steps=steps)) for steps in (1, 2))
    server, other = Server(), Server()
    for each, its_task in ((server, last), (other, longer)):
        each.answer((its_task, None))
    roots = (server.answer(Order(1, 0, Compute(0, SHARDS))),)
    state = Snapshot(Content.STATE)
    answers = [decode(each.answer(Order(2, 1, state, None, roots))) for each in (server, other)]
    assert [answer.facts["is_finite"] for answer in answers] == [True, False]
    assert [answer.facts["commit"]["skipped"] for answer in answers] == [1, 0]  # type: ignore[index]
    assert decode(server.answer(Order(3, 1, Locate()))).facts["location"] is None
    located = decode(
        other.answer(Order(4, 2, Locate(), None, (other.answer(Order(3, 1, Compute(0, SHARDS))),)))
    )
    assert located.facts["location"]["what"] == "weights"  # type: ignore[index]
