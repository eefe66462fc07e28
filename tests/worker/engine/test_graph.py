import pickle

import pytest

from gradloom.worker.engine.graph import Graph, LayerRow, ModelError, build_graph
from gradloom.worker.engine.spec import (
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Flatten,
    Initializer,
    Layer,
    Loss,
    MeanSquaredError,
    Model,
    Relu,
    Residual,
    SoftmaxCrossEntropy,
    Tanh,
    Target,
)

TEN = Target("labels", classes=10)


def build(
    *layers: Layer,
    shape: tuple[int, ...] = (64,),
    loss: Loss | None = None,
    target: Target = TEN,
) -> Graph:
    return build_graph(Model(layers), loss or SoftmaxCrossEntropy(), shape, target)


def faults(*layers: Layer, **settings: object) -> dict[str, str]:
    with pytest.raises(ModelError) as caught:
        build(*layers, **settings)  # type: ignore[arg-type]  # the settings are build's own
    return {fault.field: fault.description for fault in caught.value.faults}


def test_shapes_follow_from_the_layers() -> None:
    graph = build(Flatten(), Dense(32), Relu(), Dense(10), shape=(28, 28))
    assert [node.shape for node in graph.nodes] == [(28, 28), (784,), (32,), (32,), (10,)]


def test_dense_works_on_the_last_axis() -> None:
    graph = build(Dense(3), loss=MeanSquaredError(), shape=(5, 4), target=numbers(5, 3))
    assert graph.output_shape == (5, 3)


def numbers(*shape: int) -> Target:
    return Target("numbers", shape=shape)


def test_parameters_have_the_names_and_layouts_of_pytorch() -> None:
    graph = build(Dense(32), Relu(), Residual((Dense(32, bias=False),)), Dense(10))
    assert {parameter.name: parameter.shape for parameter in graph.parameters} == {
        "layers.0.weight": (32, 64),
        "layers.0.bias": (32,),
        "layers.2.layers.0.weight": (32, 32),
        "layers.3.weight": (10, 32),
        "layers.3.bias": (10,),
    }


def test_parameters_fill_the_flat_vector_without_a_gap() -> None:
    graph = build(Dense(32), Residual((Dense(32),)), Dense(10))
    ends = [0, *(parameter.place.stop for parameter in graph.parameters)]
    assert [parameter.offset for parameter in graph.parameters] == ends[:-1]
    assert graph.parameter_count == ends[-1]


def test_a_weight_has_the_layers_initializer_and_a_bias_is_zero() -> None:
    weight, bias = build(Dense(10, initializer=Initializer.GLOROT_UNIFORM)).parameters
    assert weight.initializer is Initializer.GLOROT_UNIFORM
    assert (weight.fan_in, weight.fan_out) == (64, 10)
    assert bias.initializer is Initializer.ZEROS


def test_nodes_know_their_path_in_the_spec() -> None:
    graph = build(Residual((Tanh(), Residual((Relu(),)))), Dense(10))
    assert [node.path for node in graph.nodes[1:]] == [
        "model.layers[0].residual.layers[0].tanh",
        "model.layers[0].residual.layers[1].residual.layers[0].relu",
        "model.layers[0].residual.layers[1].residual",
        "model.layers[0].residual",
        "model.layers[1].dense",
    ]


def test_the_first_layers_backward_pass_needs_no_gradient_of_the_data() -> None:
    first, second = build(Dense(32), Dense(10)).layers
    assert first == LayerRow(
        path="model.layers[0].dense",
        kind="dense",
        output_shape=(32,),
        parameters=64 * 32 + 32,
        forward_flops=2 * 64 * 32 + 32,
        backward_flops=2 * 64 * 32 + 32,
    )
    assert second.backward_flops == 2 * (2 * 32 * 10) + 10


def test_only_what_depends_on_a_parameter_is_trained() -> None:
    graph = build(Dropout(0.1), Dense(10), Relu())
    assert graph.trained() == {2, 3}


def test_a_residual_of_another_shape_is_told_with_both_shapes() -> None:
    assert faults(Relu(), Residual((Dense(32),)), Dense(10)) == {
        "model.layers[1].residual": "The block turns (64) into (32), but a residual adds them: "
        "end the block with dense units 64."
    }


def test_a_last_layer_of_another_width_than_the_classes_is_told() -> None:
    assert faults(Dense(32), Dense(9), Relu()) == {
        "model.layers[1].dense.units": "The data has 10 classes, the last layer 9 outputs: "
        "set units: 10."
    }


def test_a_last_layer_of_another_width_than_the_numbers_is_told() -> None:
    assert faults(Dense(4), loss=MeanSquaredError(), target=numbers()) == {
        "model.layers[0].dense.units": "The target is one number a row, the last layer 4 outputs: "
        "set units: 1."
    }


def test_dense_on_an_image_is_advised_to_flatten() -> None:
    assert faults(Dense(10), shape=(28, 28)) == {
        "model.layers[0].dense": "The data has 10 classes, the model puts out the shape (28, 10): "
        "end with flatten, then dense units: 10."
    }


def test_a_model_without_dense_is_advised_to_end_with_one() -> None:
    assert faults(Relu(), Tanh()) == {
        "model.layers[1].tanh": "The data has 10 classes, the model puts out the shape (64): "
        "end with dense units: 10."
    }


def test_numbers_are_no_target_for_cross_entropy() -> None:
    (description,) = faults(Dense(10), target=numbers(10)).values()
    assert "needs class labels" in description


@pytest.mark.parametrize("loss", [MeanSquaredError(), BinaryCrossEntropy()])
def test_labels_are_no_target_for_numbers(loss: Loss) -> None:
    (description,) = faults(Dense(10), loss=loss).values()
    assert "needs numbers" in description


@pytest.mark.parametrize(("units", "shape"), [(1, ()), (1, (1,)), (6, (2, 3))])
def test_one_line_of_outputs_fits_a_target_of_so_many_numbers(
    units: int, shape: tuple[int, ...]
) -> None:
    graph = build(Dense(units), loss=MeanSquaredError(), target=numbers(*shape))
    assert graph.output_shape == (units,)


def test_all_faults_are_told_at_once() -> None:
    model = (Dense(64), Dropout(1.5), Residual((Dense(5),)), Residual((Dense(7),)), Dense(9))
    assert list(faults(*model)) == [
        "model.layers[1].dropout.rate",
        "model.layers[2].residual",
        "model.layers[3].residual",
        "model.layers[4].dense.units",
    ]


def test_what_follows_from_a_fault_is_not_a_fault_of_its_own() -> None:
    model = (Dense(0), Residual((Dense(32),)), Flatten(), Relu())
    assert list(faults(*model)) == ["model.layers[0].dense.units"]


def test_rows_without_numbers_cannot_feed_a_dense_layer() -> None:
    (description,) = faults(Dense(10), shape=(0,)).values()
    assert description == "dense needs at least one number a row, gets (0): add inputs."


def test_a_model_error_survives_pickling() -> None:
    with pytest.raises(ModelError) as caught:
        build(Dense(9))
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # our own bytes
    assert (copy.faults, str(copy)) == (caught.value.faults, str(caught.value))


def test_a_last_layer_too_narrow_for_the_labels_of_positions_is_told() -> None:
    target = Target("labels", classes=10, shape=(5,))
    assert faults(Dense(9), shape=(5, 4), target=target) == {
        "model.layers[0].dense.units": (
            "The data has 10 classes at each of (5) positions, the last layer 9 outputs: "
            "set units: 10."
        )
    }
    assert faults(Tanh(), shape=(5, 4), target=target) == {
        "model.layers[0].tanh": (
            "The data has 10 classes at each of (5) positions, the model puts out the shape "
            "(5, 4): end with dense units: 10."
        )
    }
