"""Presets are plain layers by another name."""

import pytest

from gradloom.worker.engine.gradient_check import check_gradients
from gradloom.worker.engine.graph import Graph, ModelError, build_graph
from gradloom.worker.engine.presets import EXPANSIONS, expanded
from gradloom.worker.engine.spec import (
    PRESETS,
    Activation,
    Dense,
    Dropout,
    Flatten,
    Gelu,
    Gpt,
    LeakyRelu,
    LeNet,
    LstmNetwork,
    Mlp,
    Model,
    Preset,
    Relu,
    ResNet,
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


def built(preset: Preset, shape: tuple[int, ...], target: Target = TEN) -> Graph:
    return build_graph(Model(kind=preset), SoftmaxCrossEntropy(), shape, target)


def test_lenet_has_the_parameters_of_its_paper_with_one_channel_a_filter() -> None:
    # 5×5 filters: 6 + 6 × 25 + 16 + 16 × 6 × 25; dense: 400 → 120 → 84 → 10.
    graph = built(LeNet(10, (28, 28, 1)), (784,))
    assert graph.parameter_count == 156 + 2_416 + 48_120 + 10_164 + 850


def test_a_resnet_halves_the_image_and_doubles_the_channels() -> None:
    graph = built(ResNet(10, blocks=1, width=8), (32, 32, 3))
    shapes = [node.shape for node in graph.nodes if node.operation == "add"]
    assert shapes == [(32, 32, 8), (16, 16, 16), (8, 8, 32)]
    # The usual 20-layer network of 3 blocks a stage; its shortcuts here are convolutions.
    weights = built(ResNet(10, blocks=3), (32, 32, 3)).parameter_count
    assert 269_000 < weights < 275_000


def test_an_odd_image_fits_its_shortcut() -> None:
    assert built(ResNet(10, blocks=1, width=2), (7, 5, 1)).output_shape == (10,)


@pytest.mark.parametrize("rotary", [False, True])
def test_a_gpt_predicts_a_token_at_every_position(rotary: bool) -> None:
    preset = Gpt(vocabulary=10, context=6, layers=2, width=8, heads=2, rotary=rotary)
    labels = Target("labels", classes=10, shape=(6,))
    graph = built(preset, (6,), labels)
    assert graph.output_shape == (6, 10)
    block = 12 * 8 * 8 + 13 * 8
    positions = 0 if rotary else 6 * 8
    assert graph.parameter_count == 10 * 8 + positions + 2 * block + 2 * 8 + 8 * 10


def test_b034_a_vocabulary_fits_the_data() -> None:
    preset = Gpt(vocabulary=9, context=6, layers=1, width=8, heads=2)
    with pytest.raises(ModelError) as caught:
        built(preset, (6,), Target("labels", classes=10, shape=(6,)))
    assert "model.gpt.vocabulary" in [fault.field for fault in caught.value.faults]


def test_an_lstm_answers_at_the_end_or_at_every_step() -> None:
    assert built(LstmNetwork(10, 4, layers=2, bidirectional=True), (5, 3)).output_shape == (10,)
    every = built(
        LstmNetwork(10, 4, return_sequences=True),
        (5, 3),
        Target("labels", classes=10, shape=(5,)),
    )
    assert every.output_shape == (5, 10)


SMALL = {
    "mlp": (Mlp(3, (5, 4), Activation.TANH), (2, 3)),
    "lenet": (LeNet(3, (12, 12, 1)), (144,)),
    "resnet": (ResNet(3, blocks=1, width=2), (5, 5, 1)),
    "lstm": (LstmNetwork(3, 3, layers=2), (4, 2)),
}


@pytest.mark.parametrize(("preset", "shape"), SMALL.values(), ids=SMALL)
def test_the_gradient_of_a_preset_is_right(preset: Preset, shape: tuple[int, ...]) -> None:
    graph = built(preset, shape, Target("labels", classes=3))
    errors = check_gradients(graph, rows=4, most_elements=8)
    assert max(error.relative_error for error in errors) < 1e-6
