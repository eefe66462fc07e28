import math
from dataclasses import replace

import pytest

from gradloom.worker.engine.check import check_model, check_optimizer, check_schedule
from gradloom.worker.engine.spec import (
    Adagrad,
    Adam,
    AdamW,
    ConstantSchedule,
    Conv1d,
    Conv2d,
    CosineRestartsSchedule,
    CosineSchedule,
    Dense,
    Dropout,
    Elu,
    ExponentialSchedule,
    Fault,
    GroupNorm,
    Huber,
    KlDivergence,
    Lamb,
    Layer,
    LayerNorm,
    LeakyRelu,
    Lion,
    Loss,
    MaxPool2d,
    Model,
    OneCycleSchedule,
    Optimizer,
    Padding,
    Relu,
    Residual,
    RmsNorm,
    RmsProp,
    Schedule,
    Sgd,
    Softmax,
    SoftmaxCrossEntropy,
    StepSchedule,
    UpdateRule,
)

LOSS = SoftmaxCrossEntropy()


def said(faults: tuple[Fault, ...]) -> dict[str, str]:
    return {fault.field: fault.description for fault in faults}


def about(*layers: Layer, loss: Loss = LOSS) -> dict[str, str]:
    return said(check_model(Model(layers), loss))


def nested(depth: int) -> Layer:
    layer: Layer = Relu()
    for _ in range(depth):
        layer = Residual((layer,))
    return layer


def test_a_sound_model_has_no_faults() -> None:
    assert about(Dense(65_536), LeakyRelu(0.0), Dropout(0.0), Residual((Dense(1),))) == {}


def test_a_model_without_layers_is_a_fault() -> None:
    assert about() == {
        "model.layers": "The model has no layers: add at least one, for example dense."
    }


def test_a_bias_that_is_not_there_begins_nowhere() -> None:
    sentence = "bias_initial is given, but bias is false: leave one of them out."
    assert about(Dense(4, bias=False, bias_initial=1.0)) == {
        "model.layers[0].dense.bias_initial": sentence
    }
    assert about(Dense(4, bias_initial=-10.0)) == {}


def test_a_residual_without_layers_is_a_fault() -> None:
    assert "model.layers[1].residual.layers" in about(Relu(), Residual(()))


def test_no_units_are_a_fault() -> None:
    assert about(Dense(0)) == {"model.layers[0].dense.units": "units is 0: give at least 1."}


@pytest.mark.parametrize(
    ("layer", "field", "sentence"),
    [
        (Conv2d(0, (3,)), "conv2d.filters", "filters is 0: give at least 1."),
        (Conv2d(1, (3, 0)), "conv2d.kernel[1]", "kernel[1] is 0: give at least 1."),
        (Conv1d(1, (3,), (0,)), "conv1d.stride[0]", "stride[0] is 0: give at least 1."),
        (Conv1d(1, (3,), groups=0), "conv1d.groups", "groups is 0: give at least 1."),
        (Conv1d(1, (2000,)), "conv1d.kernel[0]", "kernel[0] is 2000: the largest allowed is 1024."),
        (Conv1d(1, (3,), pads=(-1,)), "conv1d.pads[0]", "pads[0] is -1: give 0 or more."),
        (
            Conv2d(1, ()),
            "conv2d.kernel",
            "kernel is missing: give one number, or 2, one for each axis, for example kernel: 3.",
        ),
        (
            Conv2d(1, (3,), (1, 1, 1)),
            "conv2d.stride",
            "stride has 3 numbers: give one, or 2, one for each axis.",
        ),
        (Conv1d(1, (3, 3)), "conv1d.kernel", "kernel has 2 numbers: give one."),
        (
            Conv2d(1, (3,), padding=Padding.SAME, pads=(1,)),
            "conv2d.pads",
            "Both padding: same and pads are given: leave one out.",
        ),
        (
            MaxPool2d((3, 2), pads=(1, 2)),
            "max_pool2d.pads",
            "pads are at most half of size: make them smaller.",
        ),
    ],
)
def test_numbers_of_windows_are_checked(layer: Layer, field: str, sentence: str) -> None:
    assert about(layer) == {f"model.layers[0].{field}": sentence}


def test_a_million_units_are_a_fault() -> None:
    assert about(Dense(1_000_000)) == {
        "model.layers[0].dense.units": "units is 1000000: the largest allowed is 65536."
    }


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_a_rate_outside_the_unit_interval_is_a_fault(rate: float) -> None:
    sentence = f"rate is {rate}: it is the share dropped, from 0 up to but not 1."
    assert about(Relu(), Dropout(rate)) == {"model.layers[1].dropout.rate": sentence}


@pytest.mark.parametrize(
    ("layer", "field", "sentence"),
    [
        (Elu(0.0), "elu.alpha", "alpha is 0.0: give a positive number."),
        (GroupNorm(0), "group_norm.groups", "groups is 0: give at least 1."),
        (GroupNorm(1, -1.0), "group_norm.epsilon", "epsilon is -1.0: give a positive number."),
        (LayerNorm(0.0), "layer_norm.epsilon", "epsilon is 0.0: give a positive number."),
        (RmsNorm(0.0), "rms_norm.epsilon", "epsilon is 0.0: give a positive number."),
    ],
)
def test_a_wrong_number_of_a_layer_is_told_by_its_field(
    layer: Layer, field: str, sentence: str
) -> None:
    assert about(layer) == {f"model.layers[0].{field}": sentence}


@pytest.mark.parametrize(
    ("loss", "field", "sentence"),
    [
        (Huber(0.0), "huber.delta", "delta is 0.0: give a positive number."),
        (
            SoftmaxCrossEntropy(label_smoothing=1.0),
            "softmax_cross_entropy.label_smoothing",
            "label_smoothing is 1.0: it is the share spread over all classes, "
            "from 0 up to but not 1.",
        ),
        (
            SoftmaxCrossEntropy(ignore_index=-1),
            "softmax_cross_entropy.ignore_index",
            "ignore_index is -1: give 0 or more.",
        ),
        (
            SoftmaxCrossEntropy(class_weights=(1.0, -2.0)),
            "softmax_cross_entropy.class_weights[1]",
            "class_weights[1] is -2.0: give 0 or more.",
        ),
        (
            SoftmaxCrossEntropy(class_weights=(0.0, 0.0)),
            "softmax_cross_entropy.class_weights",
            "class_weights are all 0: give a positive number to at least one class.",
        ),
    ],
)
def test_a_wrong_number_of_a_loss_is_told_by_its_field(
    loss: Loss, field: str, sentence: str
) -> None:
    assert about(Relu(), loss=loss) == {f"loss.{field}": sentence}


@pytest.mark.parametrize("loss", [LOSS, KlDivergence()])
def test_a_softmax_before_a_loss_that_applies_its_own_is_a_fault(loss: Loss) -> None:
    assert about(Dense(3), Softmax(), loss=loss) == {
        "model.layers[1].softmax": "The loss applies softmax itself: remove this layer."
    }
    assert about(Softmax(), Dense(3)) == {}


def test_every_fault_is_told_with_the_path_of_its_layer() -> None:
    model = (Dense(-1), Residual((Dropout(2.0), Residual((LeakyRelu(1.0),)))))
    assert list(about(*model)) == [
        "model.layers[0].dense.units",
        "model.layers[1].residual.layers[0].dropout.rate",
        "model.layers[1].residual.layers[1].residual.layers[0].leaky_relu.slope",
    ]


def test_layers_may_be_nested_32_deep() -> None:
    assert about(nested(31)) == {}


@pytest.mark.parametrize("depth", [32, 5000])
def test_layers_nested_deeper_are_a_fault(depth: int) -> None:
    assert about(nested(depth)) == {
        "model.layers": "Layers are nested deeper than 32: flatten the model."
    }


def test_too_many_layers_are_a_fault() -> None:
    (sentence,) = about(*[Relu()] * 10_000, Residual((Relu(),))).values()
    assert sentence == "The model has 10002 layers, the limit is 10000: use fewer."


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (-0.001, "learning_rate is -0.001: give a positive number."),
        (0.0, "learning_rate is 0.0: give a positive number."),
        (1000.5, "learning_rate is 1000.5: the largest allowed is 1000."),
        (math.nan, "learning_rate is NaN: give a finite number."),
        (math.inf, "learning_rate is infinite: give a finite number."),
        (1e-50, "learning_rate 1e-50 rounds to zero in float32: use at least 1.2e-38."),
    ],
)
def test_a_wrong_learning_rate_is_told(value: float, sentence: str) -> None:
    assert said(check_optimizer(Optimizer(Adam(value)))) == {
        "optimizer.adam.learning_rate": sentence
    }


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Sgd(0.1, momentum=1.0), "optimizer.sgd.momentum"),
        (Sgd(0.1, nesterov=True), "optimizer.sgd.nesterov"),
        (Sgd(0.1, weight_decay=-1e-4), "optimizer.sgd.weight_decay"),
        (Adam(0.1, beta1=-0.1), "optimizer.adam.beta1"),
        (Adam(0.1, beta2=1.0), "optimizer.adam.beta2"),
        (Adam(0.1, epsilon=0.0), "optimizer.adam.epsilon"),
        (AdamW(0.1, weight_decay=1e39), "optimizer.adamw.weight_decay"),
        (Adagrad(0.1, epsilon=0.0), "optimizer.adagrad.epsilon"),
        (RmsProp(0.1, decay=1.0), "optimizer.rmsprop.decay"),
        (RmsProp(0.1, momentum=-0.5), "optimizer.rmsprop.momentum"),
        (Lion(0.0), "optimizer.lion.learning_rate"),
        (Lion(0.1, beta2=1.0), "optimizer.lion.beta2"),
        (Lamb(0.1, epsilon=0.0), "optimizer.lamb.epsilon"),
    ],
)
def test_a_wrong_number_of_an_optimizer_is_told_by_its_field(kind: UpdateRule, field: str) -> None:
    assert list(said(check_optimizer(Optimizer(kind)))) == [field]


def test_a_number_that_float32_rounds_out_of_its_range_is_a_fault() -> None:
    (sentence,) = said(check_optimizer(Optimizer(Adam(0.1, beta2=1 - 1e-12)))).values()
    assert "rounds to 1 in float32" in sentence


def test_a_sound_optimizer_has_no_faults() -> None:
    assert check_optimizer(Optimizer(Sgd(1000.0, 0.9, True, 0.0), clip_norm=1.0)) == ()


def test_clipping_to_nothing_is_a_fault() -> None:
    optimizer = Optimizer(Sgd(0.1), clip_norm=0.0, clip_value=0.0)
    assert said(check_optimizer(optimizer)) == {
        "optimizer.clip_norm": "clip_norm is 0.0: give a positive number.",
        "optimizer.clip_value": "clip_value is 0.0: give a positive number.",
    }


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (ConstantSchedule(-1), "schedule.constant.warmup_steps"),
        (StepSchedule(0), "schedule.step.every_steps"),
        (StepSchedule(1, factor=0.0), "schedule.step.factor"),
        (StepSchedule(1, factor=1.5), "schedule.step.factor"),
        (CosineSchedule(final_ratio=1.1), "schedule.cosine.final_ratio"),
        (ExponentialSchedule(0.0), "schedule.exponential.factor"),
        (ExponentialSchedule(0.9, every_steps=0), "schedule.exponential.every_steps"),
        (OneCycleSchedule(start_ratio=1.1), "schedule.one_cycle.start_ratio"),
        (OneCycleSchedule(rise=1.0), "schedule.one_cycle.rise"),
        (CosineRestartsSchedule(0), "schedule.cosine_restarts.period_steps"),
        (CosineRestartsSchedule(5, multiplier=0), "schedule.cosine_restarts.multiplier"),
    ],
)
def test_a_wrong_number_of_a_schedule_is_told_by_its_field(schedule: Schedule, field: str) -> None:
    assert list(said(check_schedule(schedule, 300))) == [field]


def test_a_warm_up_as_long_as_the_training_is_a_fault() -> None:
    faults = check_schedule(CosineSchedule(warmup_steps=500), 300)
    assert said(faults) == {
        "schedule.cosine.warmup_steps": "Warm-up lasts 500 steps, training only 300: "
        "shorten the warm-up or train longer."
    }


def test_a_warm_up_one_step_shorter_than_the_training_is_sound() -> None:
    schedule = CosineSchedule(final_ratio=1.0, warmup_steps=299)
    assert check_schedule(schedule, 300) == ()
    assert check_schedule(replace(schedule, warmup_steps=300), 300) != ()
