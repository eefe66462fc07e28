import numpy as np
import pytest

from gradloom.worker.engine.graph import ModelError, build_graph
from gradloom.worker.engine.plan import Plan
from gradloom.worker.engine.random import Key
from gradloom.worker.engine.spec import (
    Dense,
    Embedding,
    Layer,
    MeanSquaredError,
    Model,
    Positions,
    Target,
)


def plan(*layers: Layer, rows: int = 2, tokens: int = 3, width: int = 2) -> Plan:
    target = Target("numbers", shape=(tokens, width))
    return Plan(build_graph(Model(layers), MeanSquaredError(), (tokens,), target), rows)


def faults(*layers: Layer) -> dict[str, str]:
    with pytest.raises(ModelError) as caught:
        plan(*layers)
    return {fault.field: fault.description for fault in caught.value.faults}


def test_a_token_becomes_its_row_of_the_table() -> None:
    made = plan(Embedding(4, 2))
    made.parameters[...] = np.arange(8)
    made.inputs(2)[...] = [[0, 3, 1], [2, 2, 0]]
    assert made.predict(2).tolist() == [[[0, 1], [6, 7], [2, 3]], [[4, 5], [4, 5], [0, 1]]]


def test_the_gradient_of_a_token_is_summed_over_where_it_stands() -> None:
    made = plan(Embedding(4, 2))
    made.inputs(2)[...] = [[0, 3, 3], [3, 2, 0]]
    made.target(2)[...] = -np.arange(12).reshape(2, 3, 2)
    made.value_and_grad(2, Key(0, 0))
    gradient = made.gradient.reshape(4, 2) * 3  # 2 (p - t) / 6
    assert gradient == pytest.approx(np.array([[10, 12], [0, 0], [8, 9], [12, 15]]))


def test_positions_are_added_from_the_first_one_on() -> None:
    made = plan(Embedding(2, 2), Positions(5))
    made.parameters[4:] = np.arange(10)
    assert made.predict(1).tolist() == [[[0, 1], [2, 3], [4, 5]]]


def test_positions_that_no_row_has_are_not_trained() -> None:
    made = plan(Embedding(2, 2), Positions(5))
    for register in made.registers:
        register.fill(7)
    made.target(2)[...] = 1
    made.value_and_grad(2, Key(0, 0))
    assert made.gradient[4:10].all()
    assert not made.gradient[10:].any()


def test_b033_windows_longer_than_the_positions_are_told() -> None:
    assert faults(Embedding(2, 2), Positions(2)) == {
        "model.layers[1].positions.length": (
            "Windows have 3 tokens, positions cover 2: set length: 3."
        )
    }


def test_an_embedding_of_what_a_layer_puts_out_is_told() -> None:
    assert faults(Dense(3), Embedding(2, 2)) == {
        "model.layers[1].embedding": "embedding reads token numbers from the data: put it first."
    }


def test_padding_outside_of_the_table_is_told() -> None:
    assert faults(Embedding(2, 2, padding_index=2)) == {
        "model.layers[0].embedding.padding_index": (
            "padding_index is 2, the embedding has 2 entries (0 to 1): use one of them or set "
            "size: 3."
        )
    }
