from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.fusion import fuse
from gradloom.worker.engine.gradient_check import fill_rows
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.joining import come_to_the_same, together
from gradloom.worker.engine.kernels.operations import FAST, FUSIONS
from gradloom.worker.engine.layout import row_bytes
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import CHECK, Key
from gradloom.worker.engine.shards import Shard
from gradloom.worker.engine.spec import (
    Dense,
    Dropout,
    LayerNorm,
    Model,
    Relu,
    Residual,
    SoftmaxCrossEntropy,
    Target,
)
from tests.worker.engine.graphs import CASES, Case, alone
from tests.worker.engine.kernels.test_operations import CHAINS

MODEL = Model(
    (Dense(40), Relu(), Dropout(0.2), Residual((LayerNorm(), Dense(40), Relu())), Dense(10))
)
# A row's product has the same bits wherever it stands as long as its shard begins at a multiple
# of the width of OpenBLAS's kernel, which is 12 in the pinned profile.
SHARDS = (Shard(24, 0), Shard(0, 1, ((0, 1),)), Shard(12, 1), Shard(7, 2, ((1, 2), (0, 1))))


def graph() -> Graph:
    return build_graph(MODEL, SoftmaxCrossEntropy(), (30,), Target("labels", classes=10))


def plan(operations: Operations = OPERATIONS) -> Plan:
    made = Plan(graph(), 48, registers=3, operations=operations)
    made.parameters[...] = initial_parameters(made.graph, 3)
    return made


def test_shards_together_come_to_the_bits_of_shards_one_by_one() -> None:
    assert come_to_the_same(plan(), SHARDS)


def test_an_operation_that_mixes_rows_is_found_out() -> None:
    relu = OPERATIONS["relu"]

    def mixing(call: Call[Relu], key: Key | None) -> None:
        relu.forward(call, key)
        np.add(call.output, np.float32(len(call.output)) * 1e-3, out=call.output)

    operations = {**OPERATIONS, "relu": replace(relu, forward=mixing, rowwise=True)}
    assert not come_to_the_same(plan(operations), SHARDS)


@pytest.mark.parametrize(("batch", "rows"), [(64, 64), (10**9, (1 << 21) // row_bytes(graph()))])
def test_a_plan_holds_a_batch_while_it_stays_near_the_caches(batch: int, rows: int) -> None:
    assert together(graph(), batch, 8) == rows


def test_a_plan_holds_a_shard_however_large() -> None:
    assert together(graph(), 10**9, 10**6) == 10**6


def test_shards_that_begin_within_the_width_of_a_kernel_are_never_joined() -> None:
    assert not come_to_the_same(plan(), (Shard(32, 0), Shard(32, 1, ((0, 1),))))


def test_the_answer_does_not_depend_on_the_parameters_and_leaves_them_alone() -> None:
    random, zeros = plan(), plan()
    zeros.parameters[...] = 0
    zeros.parameters.setflags(write=False)  # others may be reading them
    assert come_to_the_same(random, SHARDS) == come_to_the_same(zeros, SHARDS)
    assert not zeros.parameters.any()


def test_shards_without_rows_have_nothing_to_share() -> None:
    assert not come_to_the_same(plan(), (Shard(0, 0), Shard(0, 1, ((0, 1),))))


# Shards of a batch as workers have them: of any number of rows, and sums in the tree's order.
ANY = (Shard(5, 0), Shard(0, 1, ((0, 1),)), Shard(3, 1), Shard(7, 2, ((1, 2), (0, 1))))


def compiled(made: Graph) -> Plan:
    found = Plan(
        fuse(made, FUSIONS), sum(shard.rows for shard in ANY), registers=3, operations=FAST
    )
    found.parameters[...] = initial_parameters(found.graph, 3)
    return found


def sums(trained: Plan, *, at_once: bool) -> tuple[object, bytes]:
    """Statistics of the shards, and what their gradients add up to."""
    rows = sum(shard.rows for shard in ANY)
    fill_rows(trained, rows, seed=1)
    inputs, target = trained.inputs(rows).copy(), trained.target(rows).copy()
    keys = [Key(4, CHECK, shard=place) for place in range(len(ANY))]
    if at_once:
        return trained.train(ANY, keys), trained.gradient.tobytes()
    statistics, first = [], 0
    for shard, key in zip(ANY, keys, strict=True):
        trained.inputs(shard.rows)[...] = inputs[first : first + shard.rows]
        trained.target(shard.rows)[...] = target[first : first + shard.rows]
        statistics += trained.train((shard,), (key,))
        first += shard.rows
    return tuple(statistics), trained.gradient.tobytes()


ROWWISE = [case for case in CASES if compiled(case.values[0].graph).begins == 1]


@pytest.mark.parametrize("case", ROWWISE)
def test_shards_of_any_rows_may_share_the_calls_of_compiled_layers(case: Case) -> None:
    trained = compiled(case.graph)
    assert sums(trained, at_once=True) == sums(trained, at_once=False)


@pytest.mark.parametrize("name", CHAINS)
def test_shards_of_any_rows_may_share_the_calls_of_fused_layers(name: str) -> None:
    trained = compiled(alone(CHAINS[name], (3, 8)))
    assert trained.begins == 1
    assert sums(trained, at_once=True) == sums(trained, at_once=False)


def test_only_recurrent_layers_still_care_where_a_shard_begins() -> None:
    assert {word for word, rules in FAST.items() if rules.begins > 1} == {"lstm", "gru"}


def test_a_gradient_that_is_added_at_once_has_the_bits_of_one_added_afterwards() -> None:
    """What a shard whose help came from elsewhere is added by."""
    made = alone((Dense(40), Relu(), Dense(7, bias=False)), (30,))
    at_once, later = compiled(made), compiled(made)
    keys = [Key(4, CHECK, shard=place) for place in range(2)]
    for trained in (at_once, later):
        fill_rows(trained, 15, seed=1)
    at_once.train((Shard(9, 0), Shard(6, 1, ((0, 1),))), keys)
    later.train((Shard(9, 0), Shard(6, 1)), keys)
    later.add(0, 1)
    assert at_once.gradient.tobytes() == later.gradient.tobytes()
