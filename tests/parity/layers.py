"""Our layers beside PyTorch's: a module of the same parameters, or why there is none."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.spec import LAYERS, Layer

# A layer and the shape of the rows it reads; each builder knows its own layer.
Builder = Callable[[Any, Shape], nn.Module]


class GroupNormOfLast(nn.GroupNorm):
    """Channels on the last axis, as ours are."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(rows.movedim(-1, 1)).movedim(1, -1)


class Residual(nn.Module):
    """x + layers(x)."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + self.layers(rows)


class Chain(nn.Module):
    """Layers in a row, under the names of our parameters."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows)


def sequence(layers: tuple[Layer, ...], shape: Shape) -> nn.Sequential:
    """PyTorch's layers for ours, each built for what the one before puts out."""
    modules: list[nn.Module] = []
    for layer in layers:
        modules.append(PAIRS[WORDS[type(layer)]](layer, shape))
        with torch.no_grad():
            shape = tuple(modules[-1].eval()(torch.zeros(2, *shape)).shape[1:])
        modules[-1].train()
    return nn.Sequential(*modules)


WORDS = {kind: word for word, kind in LAYERS.items()}

PAIRS: Mapping[str, Builder] = {
    "dense": lambda layer, shape: nn.Linear(shape[-1], layer.units, bias=layer.bias),
    "relu": lambda layer, shape: nn.ReLU(),
    "leaky_relu": lambda layer, shape: nn.LeakyReLU(layer.slope),
    "tanh": lambda layer, shape: nn.Tanh(),
    "sigmoid": lambda layer, shape: nn.Sigmoid(),
    "gelu": lambda layer, shape: nn.GELU(str(layer.approximation)),
    "dropout": lambda layer, shape: nn.Dropout(layer.rate),
    "flatten": lambda layer, shape: nn.Flatten(),
    "residual": lambda layer, shape: Residual(sequence(layer.layers, shape)),
    "elu": lambda layer, shape: nn.ELU(layer.alpha),
    "selu": lambda layer, shape: nn.SELU(),
    "silu": lambda layer, shape: nn.SiLU(),
    "softplus": lambda layer, shape: nn.Softplus(),
    "hardswish": lambda layer, shape: nn.Hardswish(),
    "softmax": lambda layer, shape: nn.Softmax(dim=-1),
    "layer_norm": lambda layer, shape: nn.LayerNorm(shape[-1], layer.epsilon),
    "rms_norm": lambda layer, shape: nn.RMSNorm(shape[-1], layer.epsilon),
    "group_norm": lambda layer, shape: GroupNormOfLast(layer.groups, shape[-1], layer.epsilon),
}

# Layers that PyTorch has no module for, each with the reason.
TORCH_HAS_NONE: Mapping[str, str] = {}
