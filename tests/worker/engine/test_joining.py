from dataclasses import replace

import numpy as np
import pytest

from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.initializers import initial_parameters
from gradloom.worker.engine.joining import come_to_the_same, together
from gradloom.worker.engine.layout import row_bytes
from gradloom.worker.engine.operation import Call
from gradloom.worker.engine.operations import OPERATIONS, Operations
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
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


@pytest.mark.parametrize(("batch", "rows"), [(64, 64), (10**9, (1 << 23) // row_bytes(graph()))])
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
