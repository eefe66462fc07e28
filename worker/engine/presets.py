"""What presets stand for: a pure function from a preset to plain layers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from gradloom.worker.engine.spec import (
    LAYERS,
    Activation,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Mlp,
    Model,
)

Layers = tuple[Layer, ...]


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


# Any: each expansion takes its own preset.
EXPANSIONS: Mapping[type, Callable[[Any], Iterator[Layer]]] = {
    Mlp: _mlp,
}
