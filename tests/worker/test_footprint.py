"""The memory worked out beforehand is that which a plan then takes."""

import tracemalloc
from dataclasses import replace

import pytest

from gradloom.worker.data.prepared import Summary
from gradloom.worker.engine.graph import Graph, build_graph
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.spec import (
    Adam,
    Dense,
    Model,
    Optimizer,
    Relu,
    Residual,
    Sgd,
    SoftmaxCrossEntropy,
    Target,
    WeightAverage,
)
from gradloom.worker.footprint import footprint

SUMMARY = Summary(
    input_names=("images",),
    input_shapes=((64,),),
    target_shape=(),
    classes=10,
    rows=2_000,
    training_rows=2_000,
    validation_rows=0,
    test_rows=0,
    sha256="",
    test_sha256=None,
    warnings=(),
)


def graph() -> Graph:
    layers = (Dense(256), Relu(), Residual((Dense(256), Relu())), Dense(10))
    return build_graph(Model(layers), SoftmaxCrossEntropy(), (64,), Target("labels", classes=10))


@pytest.mark.parametrize(("batch_size", "shards"), [(512, 1), (2_000, 1), (2_000, 4)])
def test_activations_are_within_a_quarter_of_what_a_plan_takes(
    batch_size: int, shards: int
) -> None:
    built = graph()
    estimate = footprint(built, Optimizer(Adam(0.1)), SUMMARY, batch_size=batch_size, shards=shards)

    tracemalloc.start()
    plan = Plan(built, batch_size // shards)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    activations = taken - plan.parameters.nbytes - plan.gradient.nbytes
    assert estimate.activations == pytest.approx(activations, rel=0.25)


def test_more_shards_need_less_memory() -> None:
    few = footprint(graph(), Optimizer(Adam(0.1)), SUMMARY, batch_size=2_000, shards=1)
    many = footprint(graph(), Optimizer(Adam(0.1)), SUMMARY, batch_size=2_000, shards=16)

    assert many.activations < few.activations


def test_adam_keeps_more_than_plain_descent() -> None:
    adam = footprint(graph(), Optimizer(Adam(0.1)), SUMMARY, batch_size=64, shards=1)
    descent = footprint(graph(), Optimizer(Sgd(0.1)), SUMMARY, batch_size=64, shards=1)

    assert adam.state - descent.state == 4 * 4 * graph().parameter_count


def test_an_average_of_the_weights_is_kept_twice_over() -> None:
    averaged = Optimizer(Adam(0.1), average=WeightAverage())
    with_it = footprint(graph(), averaged, SUMMARY, batch_size=64, shards=1)
    without = footprint(graph(), Optimizer(Adam(0.1)), SUMMARY, batch_size=64, shards=1)

    assert with_it.state - without.state == 2 * 4 * graph().parameter_count


def test_the_largest_block_of_an_evaluation_counts_too() -> None:
    alone = footprint(graph(), Optimizer(Adam(0.1)), SUMMARY, batch_size=1, shards=1)
    validated = replace(SUMMARY, validation_rows=400)
    held_out = footprint(graph(), Optimizer(Adam(0.1)), validated, batch_size=1, shards=1)

    assert held_out.activations == 256 * alone.activations


def test_of_a_stream_the_rows_that_are_held_count() -> None:
    optimizer = Optimizer(Adam(0.1))
    streamed = replace(SUMMARY, rows=1_000_000, held_rows=2_000)
    whole, windowed = (
        footprint(graph(), optimizer, summary, batch_size=64, shards=2)
        for summary in (SUMMARY, streamed)
    )
    assert windowed.data == whole.data == 2_000 * 65 * 4
