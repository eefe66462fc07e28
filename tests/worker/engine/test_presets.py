"""Presets are plain layers by another name."""

import pytest

from gradloom.worker.engine.graph import ModelError, build_graph
from gradloom.worker.engine.presets import EXPANSIONS, expanded
from gradloom.worker.engine.spec import (
    PRESETS,
    Activation,
    Dense,
    Dropout,
    Flatten,
    Gelu,
    LeakyRelu,
    Mlp,
    Model,
    Relu,
    SoftmaxCrossEntropy,
    Target,
)

TEN = Target("labels", classes=10)


def test_every_preset_has_an_expansion() -> None:
    assert EXPANSIONS.keys() == set(PRESETS.values())


def test_a_model_of_layers_stays_as_it_is() -> None:
    model = Model((Dense(3),))
    assert expanded(model) is model


def test_an_mlp_is_dense_layers_after_flatten() -> None:
    assert expanded(Model(kind=Mlp(10, (64, 32), Activation.GELU, 0.1))) == Model(
        (
            Flatten(),
            Dense(64),
            Gelu(),
            Dropout(0.1),
            Dense(32),
            Gelu(),
            Dropout(0.1),
            Dense(10),
        )
    )
    assert expanded(Model(kind=Mlp(10))) == Model((Flatten(), Dense(10)))


@pytest.mark.parametrize("activation", Activation)
def test_every_activation_is_a_layer(activation: Activation) -> None:
    layers = expanded(Model(kind=Mlp(1, (2,), activation))).layers
    assert type(layers[2]).__name__.lower() == activation.value.replace("_", "")


def test_a_preset_comes_to_the_graph_of_its_layers() -> None:
    layers = (Flatten(), Dense(8), Relu(), Dense(10))
    by_name = build_graph(Model(kind=Mlp(10, (8,))), SoftmaxCrossEntropy(), (4, 4), TEN)
    by_layers = build_graph(Model(layers), SoftmaxCrossEntropy(), (4, 4), TEN)
    assert by_name.parameters == by_layers.parameters
    assert [node.path for node in by_name.nodes] == [
        node.path.replace("model.", "model.mlp.") for node in by_layers.nodes
    ]


def faults(model: Model) -> list[tuple[str, str]]:
    with pytest.raises(ModelError) as caught:
        build_graph(model, SoftmaxCrossEntropy(), (4,), TEN)
    return [(fault.field, fault.description) for fault in caught.value.faults]


def test_b034_the_outputs_of_a_preset_fit_the_data() -> None:
    assert faults(Model(kind=Mlp(9))) == [
        ("model.mlp.outputs", "The data has 10 classes, the last layer 9 outputs: set outputs: 10.")
    ]


def test_numbers_of_a_preset_are_checked_before_it_is_expanded() -> None:
    assert faults(Model(kind=Mlp(10, (64, 0), dropout=1.5))) == [
        ("model.mlp.hidden[1]", "hidden[1] is 0: give at least 1."),
        (
            "model.mlp.dropout",
            "dropout is 1.5: it is the share dropped, from 0 up to but not 1.",
        ),
    ]


def test_a_preset_and_layers_are_one_too_many() -> None:
    assert faults(Model((LeakyRelu(), Dense(10)), kind=Mlp(10))) == [
        ("model", "layers and mlp are given: keep one.")
    ]
