"""What presets stand for: a pure function from a preset to plain layers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gradloom.worker.engine.spec import (
    LAYERS,
    Activation,
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    Gpt,
    Layer,
    LayerNorm,
    LeNet,
    Lstm,
    LstmNetwork,
    MaxPool2d,
    Mlp,
    Model,
    Padding,
    Positions,
    Relu,
    Reshape,
    Residual,
    ResNet,
    TransformerBlock,
)

Layers = tuple[Layer, ...]

_STAGES = 3


def expanded(model: Model) -> Model:
    """The model with layers in place of a preset."""
    if model.kind is None:
        return model
    return replace(model, kind=None, layers=tuple(EXPANSIONS[type(model.kind)](model.kind)))


def _activation(activation: Activation) -> Layer:
    layer: Callable[[], Layer] = LAYERS[activation.value]
    return layer()


def _dropout(rate: float) -> Layers:
    return (Dropout(rate),) if rate else ()


def _mlp(preset: Mlp) -> Iterator[Layer]:
    yield Flatten()
    for units in preset.hidden:
        yield Dense(units)
        yield _activation(preset.activation)
        yield from _dropout(preset.dropout)
    yield Dense(preset.outputs)


def _lenet(preset: LeNet) -> Iterator[Layer]:
    yield from _reshape(preset.shape)
    yield from (Conv2d(6, (5,), padding=Padding.SAME), Relu(), MaxPool2d((2,)))
    yield from (Conv2d(16, (5,)), Relu(), MaxPool2d((2,)))
    yield from (Flatten(), Dense(120), Relu(), Dense(84), Relu(), Dense(preset.outputs))


def _resnet(preset: ResNet) -> Iterator[Layer]:
    yield from _reshape(preset.shape)
    yield from (_convolution(preset.width, 3), BatchNorm(), Relu())
    for stage in range(_STAGES):
        for block in range(preset.blocks):
            yield from _block(preset.width << stage, 2 if stage and not block else 1)
    yield from (GlobalAveragePool(), Dense(preset.outputs))


def _block(width: int, stride: int) -> Layers:
    """Two convolutions beside the input, or beside a convolution where the shape changes."""
    inner = (
        _convolution(width, 3, stride),
        BatchNorm(),
        Relu(),
        _convolution(width, 3),
        BatchNorm(),
    )
    shortcut = (_convolution(width, 1, stride), BatchNorm()) if stride > 1 else ()
    return Residual(inner, shortcut), Relu()


def _convolution(filters: int, kernel: int, stride: int = 1) -> Layer:
    """Without a bias, which the norm that follows would take off again."""
    return Conv2d(filters, (kernel,), (stride,), pads=(kernel // 2,), bias=False)


def _reshape(shape: tuple[int, ...]) -> Layers:
    return (Reshape(shape),) if shape else ()


def _gpt(preset: Gpt) -> Iterator[Layer]:
    yield Embedding(preset.vocabulary, preset.width)
    if not preset.rotary:
        yield Positions(preset.context)
    yield from _dropout(preset.dropout)
    for _ in range(preset.layers):
        yield TransformerBlock(
            preset.heads,
            kv_heads=preset.kv_heads,
            causal=True,
            rotary=preset.rotary,
            dropout=preset.dropout,
        )
    yield from (LayerNorm(), Dense(preset.vocabulary, bias=False))


def _lstm(preset: LstmNetwork) -> Iterator[Layer]:
    for place in range(preset.layers):
        is_last = place == preset.layers - 1
        yield Lstm(preset.units, preset.return_sequences or not is_last, preset.bidirectional)
        yield from _dropout(preset.dropout)
    yield Dense(preset.outputs)


# The field that decides the width of a preset's last layer, where it is not called outputs.
OUTPUTS: Mapping[type, str] = {Gpt: "vocabulary"}

# Any: each expansion takes its own preset.
EXPANSIONS: Mapping[type, Callable[[Any], Iterator[Layer]]] = {
    Mlp: _mlp,
    LeNet: _lenet,
    ResNet: _resnet,
    Gpt: _gpt,
    LstmNetwork: _lstm,
}
