"""A replica behind messages: same bits for any division, errors as answers, state that moves."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from safetensors.numpy import load, save_file

from gradloom.worker.data.container import Array
from gradloom.worker.data.files import Roots
from gradloom.worker.data.preparation import prepare
from gradloom.worker.data.reader import Reader
from gradloom.worker.data.reading import LIMIT_SECONDS, READS, Read
from gradloom.worker.data.split import Rows
from gradloom.worker.data.target import TargetKind
from gradloom.worker.engine.spec import (
    ConstantSchedule,
    Dense,
    GroupNorm,
    InitialWeights,
    Lamb,
    LayerNorm,
    Model,
    OneCycleSchedule,
    Optimizer,
    Sgd,
    Silu,
    SoftmaxCrossEntropy,
)
from gradloom.worker.exchange.alone import Alone
from gradloom.worker.lockstep import Lockstep
from gradloom.worker.messages import (
    AnswerKind,
    Content,
    Evaluate,
    Formation,
    Order,
    Snapshot,
    Task,
    Train,
    decode,
)
from gradloom.worker.replica import Replica
from gradloom.worker.server import Server
from tests.worker import crew
from tests.worker.crew import Crew
from tests.worker.jobs import LEARNING, task_in, write_rows

STEPS = 7
MODEL = Snapshot(Content.MODEL)
STATE = Snapshot(Content.STATE, (("uid", "u-1"),))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return task_in(tmp_path)


def trained(task: Task, workers: int) -> object:
    return crew.trained(task, workers, STEPS)


@pytest.fixture
def one(task: Task) -> Crew:
    """One worker, ready."""
    return Crew(task)


@pytest.mark.parametrize("workers", [2, 3, 5, 8])
def test_the_weights_do_not_depend_on_the_number_of_workers(task: Task, workers: int) -> None:
    assert trained(task, workers) == trained(task, 1)


# Unequal weights of rows, norms over whole parameters, everything that clips.
UNEVEN = replace(
    LEARNING,
    model=Model((Dense(12), GroupNorm(3), Silu(), LayerNorm(), Dense(3))),
    loss=SoftmaxCrossEntropy(0.1, ignore_index=1, class_weights=(1.0, 1.0, 3.0)),
    optimizer=Optimizer(Lamb(0.01), 1.0, 0.1, no_decay_on_bias_and_norm=True),
    schedule=OneCycleSchedule(),
)


def test_rows_that_weigh_unequally_come_to_the_same_weights_too(task: Task) -> None:
    uneven = replace(task, learning=UNEVEN)
    assert trained(uneven, 3) == trained(uneven, 1)


def test_a_weight_of_all_classes_alike_changes_nothing(task: Task) -> None:
    """The gradient's divisor is the sum of weights; powers of two leave every bit alone."""
    one, two = (
        replace(UNEVEN, loss=SoftmaxCrossEntropy(class_weights=(weight,) * 3))
        for weight in (1.0, 2.0)
    )
    assert trained(replace(task, learning=one), 2) == trained(replace(task, learning=two), 2)


def test_a_batch_of_which_no_row_counts_loses_nothing(task: Task) -> None:
    learning = replace(LEARNING, loss=SoftmaxCrossEntropy(ignore_index=0))
    alone = Crew(replace(task, learning=learning, batch_size=1, shards=1))
    found = [commit["loss"] for commit in alone.train(0, STEPS)]
    assert 0.0 in found
    assert all(map(math.isfinite, found))


def test_clipped_elements_change_the_weights(task: Task) -> None:
    clipped, free = (
        replace(LEARNING, optimizer=Optimizer(Sgd(0.1), clip_value=value)) for value in (1e-4, None)
    )
    assert trained(replace(task, learning=clipped), 1) != trained(replace(task, learning=free), 1)


def test_the_weights_do_depend_on_the_number_of_shards(task: Task, tmp_path: Path) -> None:
    assert trained(task_in(tmp_path, shards=4), 1) != trained(task, 1)


def test_a_snapshot_makes_another_worker_stand_where_this_one_does(task: Task, one: Crew) -> None:
    one.train(0, 4)
    state = bytes(one.order(0, STATE, 4).body)
    second = Crew(task, 2, state)
    second.train(4, STEPS)
    assert second.weights(STEPS) == trained(task, 1)


def test_an_order_may_bring_the_state_it_stands_on(task: Task, one: Crew) -> None:
    one.train(0, 4)
    state = bytes(one.order(0, STATE, 4).body)
    behind = Crew(task)
    assert behind.order(0, MODEL, 4, state=state).facts["weights_sha256"] == one.weights(4)
    behind.order(0, Train(3), 4, state=state)
    assert behind.weights(STEPS) == trained(task, 1)


def test_a_worker_goes_back_one_step_and_comes_to_the_same_again(task: Task, one: Crew) -> None:
    one.train(0, 4)
    one.train(3, STEPS)
    assert one.weights(STEPS) == trained(task, 1)


def test_a_step_that_is_not_finite_ends_the_round(task: Task, one: Crew) -> None:
    learning = replace(LEARNING, optimizer=Optimizer(Sgd(1e30)), schedule=ConstantSchedule())
    crew_of_two = Crew(replace(task, learning=learning), 2)
    reports = crew_of_two.train(0, STEPS)
    assert [report["skipped"] for report in reports][-1] == 1
    assert len(reports) < STEPS


def looks(task: Task, workers: int, steps: int = 6) -> list[object]:
    """What is found at each step, looked at every third."""
    watched = Crew(replace(task, health_interval=3), workers)
    return [report["health"] for report in watched.train(0, steps)]


@pytest.mark.parametrize("workers", [2, 3])
def test_a_look_finds_the_same_with_any_number_of_workers(task: Task, workers: int) -> None:
    alone, shared = looks(task, 1), looks(task, workers)
    assert [look is not None for look in alone] == [True, True, True, False, True, True]
    assert shared == alone


def test_looking_changes_no_weight(task: Task) -> None:
    assert trained(replace(task, health_interval=1), 2) == trained(task, 1)


class Broken(Reader):
    """Reads one row as no number, which the checks of the data would refuse."""

    def fill(self, positions: Rows, inputs: Sequence[Array], target: Array) -> None:
        super().fill(positions, inputs, target)
        inputs[0][positions == BROKEN_ROW] = math.nan


BROKEN_ROW = 7


def test_a_row_that_is_no_number_is_found_where_it_is(task: Task) -> None:
    """Nobody looks otherwise, and at no other shard."""
    data = prepare(task.data, Roots(tuple(map(Path, task.roots))), seed=3, kind=TargetKind.LABELS)
    reader = data.training
    broken = Broken(reader._dataset, reader._rows, data.scalings)
    replica = Replica(task, replace(data, training=broken))
    exchange = Alone(replica.layout)
    replica.keep(exchange.state, None, 0)
    replica.write_to(exchange.registers)
    steps = Lockstep(replica, exchange, (0, 8))
    found = [commit.health for _ in range(4) for commit in steps.steps(1)]
    (health,) = filter(None, found[: found.index(next(filter(None, found))) + 1])
    assert not health.is_whole
    first, dense = health.layers[:2]
    assert (first.path, first.non_finite, first.numbers) == ("data", 2, 3 * 2)
    assert dense.non_finite == 13


def test_a_worker_says_what_the_best_constant_answer_comes_to(task: Task) -> None:
    ready = decode(Server().answer((task, None)))
    assert ready.facts["baseline"] == pytest.approx(math.log(3), abs=0.02)


def test_a_worker_two_steps_behind_says_so(one: Crew) -> None:
    answer = one.order(0, Train(1), 2)
    assert answer.kind is AnswerKind.ERROR
    assert "stands at step 0, not 2" in str(answer.facts["message"])


def test_evaluation_counts_every_row_once(one: Crew) -> None:
    answer = one.order(0, Evaluate("validation", 0, 1), 0)
    ((_, _, statistics),) = answer.facts["statistics"]  # type: ignore[misc]
    assert statistics[0] == 22


def test_changed_data_is_refused(task: Task, tmp_path: Path) -> None:
    write_rows(tmp_path, rows=111)
    answer = decode(Server().answer((task, None)))
    assert (answer.kind, answer.facts["reason"]) == (AnswerKind.ERROR, "DATA_CHANGED")


def test_data_that_is_gone_is_an_answer(task: Task, tmp_path: Path) -> None:
    (tmp_path / "rows.npz").unlink()
    answer = decode(Server().answer((task, None)))
    assert (answer.kind, answer.facts["reason"]) == (AnswerKind.ERROR, "DATA_UNREADABLE")


def test_a_worker_says_that_it_lives_and_where_it_stands(one: Crew) -> None:
    assert decode(Server().beat()).facts == {"step": -1, "reads": ""}
    one.train(0, 3)
    beat = decode(one.servers[0].beat())
    assert (beat.kind, beat.round) == (AnswerKind.BEAT, 2)
    assert beat.facts == {"step": 3, "reads": ""}


def test_a_worker_that_waits_for_data_says_for_which(one: Crew) -> None:
    with READS.of("rows.npz"):
        assert decode(one.servers[0].beat()).facts == {"step": -1, "reads": "rows.npz"}


def test_f52_a_read_that_stalls_for_good_is_an_answer_though_its_thread_is_stuck(
    one: Crew,
) -> None:
    with READS.of("rows.npz"):
        READS.newest = Read("rows.npz", monotonic() - LIMIT_SECONDS - 1)
        answer = decode(one.servers[0].beat())
    assert (answer.kind, answer.facts["reason"]) == (AnswerKind.ERROR, "DATA_UNREADABLE")
    assert 'Nothing of "rows.npz" was read within 90 s' in str(answer.facts["message"])


def test_an_order_before_the_task_is_an_answer() -> None:
    nobody = Formation(1, (), b"", "", 1.0)
    assert decode(Server().answer(Order(0, 1, 0, nobody, MODEL))).kind is AnswerKind.ERROR


def test_an_empty_shard_adds_nothing(tmp_path: Path) -> None:
    """The last batch of an epoch has 16 rows for 20 shards."""
    task = task_in(tmp_path, shards=20)
    assert crew.trained(task, 3, 4) == crew.trained(task, 1, 4)


def model_of(task: Task) -> bytes:
    """The model at the beginning."""
    return bytes(Crew(task).order(0, MODEL, 0).body)


@pytest.fixture
def given_weights(task: Task, tmp_path: Path) -> Task:
    """The task with weights to begin from that are not the seed's, in a file."""
    arrays = load(model_of(task))
    path = tmp_path / "weights.safetensors"
    save_file({name: array + np.float32(0.25) for name, array in arrays.items()}, path)
    model = replace(LEARNING.model, initial_weights=InitialWeights("weights.safetensors"))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(task, learning=replace(LEARNING, model=model), initial_weights_sha256=sha256)


def test_training_begins_from_the_weights_given(given_weights: Task, tmp_path: Path) -> None:
    first = load(model_of(given_weights))
    file = load((tmp_path / "weights.safetensors").read_bytes())
    assert {name: array.tolist() for name, array in first.items()} == {
        name: array.tolist() for name, array in file.items()
    }
    assert trained(given_weights, 1) == trained(given_weights, 3)


def test_weights_that_changed_since_are_refused(given_weights: Task) -> None:
    answer = decode(Server().answer((replace(given_weights, initial_weights_sha256="0"), None)))
    assert answer.facts["reason"] == "DATA_CHANGED"
    assert "initial weights' SHA-256" in str(answer.facts["message"])


def test_weights_that_are_gone_matter_only_at_the_beginning(
    given_weights: Task, tmp_path: Path
) -> None:
    state = bytes(Crew(given_weights).order(0, STATE, 0).body)
    (tmp_path / "weights.safetensors").unlink()
    answer = decode(Server().answer((given_weights, None)))
    assert answer.facts["reason"] == "DATA_UNREADABLE"
    again = bytes(Crew(given_weights, 1, state).order(0, STATE, 0).body)
    # The order of a file's metadata may differ.
    assert {name: array.tobytes() for name, array in load(again).items()} == {
        name: array.tobytes() for name, array in load(state).items()
    }
