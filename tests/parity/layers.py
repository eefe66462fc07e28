"""Our layers beside PyTorch's: a module of the same parameters, or why there is none."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.spec import LAYERS, Layer

# A layer of ours: each builder knows its own.
Spec = Any
# A layer and the shape of the rows it reads; each builder knows its own layer.
Builder = Callable[[Spec, Shape], nn.Module]


class GroupNormOfLast(nn.GroupNorm):
    """Channels on the last axis, as ours are."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(rows.movedim(-1, 1)).movedim(1, -1)


class BatchNormOfLast(nn.BatchNorm1d):
    """One number a channel over all rows and positions."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(rows.reshape(-1, rows.shape[-1])).reshape(rows.shape)


class Windowed(nn.Module):
    """Pads (before, after) each axis but the channels, then slides over it channels first."""

    def __init__(self, pads: list[tuple[int, int]], fill: float) -> None:
        super().__init__()
        self._pads = [side for axis in reversed(pads) for side in axis]
        self._fill = fill

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(rows.movedim(-1, 1), self._pads, value=self._fill)
        return self.slide(padded).movedim(1, -1)

    def slide(self, rows: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Convolution(Windowed):
    """A convolution of 1 or 2 axes."""

    def __init__(self, layer: Spec, shape: Shape) -> None:
        kernel, stride, dilation = _numbers(layer, shape)
        super().__init__(_pads(layer, shape, kernel, stride, dilation), 0.0)
        channels = shape[-1] // layer.groups
        self.weight = nn.Parameter(torch.empty(layer.filters, channels, *kernel))
        self.bias = nn.Parameter(torch.empty(layer.filters)) if layer.bias else None
        self._convolve = (functional.conv1d, functional.conv2d)[len(shape) - 2]
        self._how = {"stride": stride, "dilation": dilation, "groups": layer.groups}

    def slide(self, rows: torch.Tensor) -> torch.Tensor:
        return self._convolve(rows, self.weight, self.bias, **self._how)


class MaxPool(Windowed):
    """The largest of each window; padding is never the largest."""

    def __init__(self, layer: Spec, shape: Shape) -> None:
        size, stride, dilation = _numbers(layer, shape)
        super().__init__(_pads(layer, shape, size, stride, dilation), -torch.inf)
        self._pool = (nn.MaxPool1d, nn.MaxPool2d)[len(shape) - 2](size, stride)

    def slide(self, rows: torch.Tensor) -> torch.Tensor:
        return self._pool(rows)


class AveragePool(nn.Module):
    """The mean of each window, padding not counted; PyTorch pads both sides alike."""

    def __init__(self, layer: Spec, shape: Shape) -> None:
        super().__init__()
        size, stride, dilation = _numbers(layer, shape)
        pads = _pads(layer, shape, size, stride, dilation)
        assert all(before == after for before, after in pads)
        kind = (nn.AvgPool1d, nn.AvgPool2d)[len(shape) - 2]
        self._pool = kind(size, stride, tuple(pad for pad, _ in pads), count_include_pad=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self._pool(rows.movedim(-1, 1)).movedim(1, -1)


def _numbers(layer: Spec, shape: Shape) -> tuple[tuple[int, ...], ...]:
    """Size, stride and dilation of every axis."""
    axes = len(shape) - 1
    is_pool = hasattr(layer, "size")
    size = layer.size if is_pool else layer.kernel
    stride = layer.stride or (size if is_pool else (1,))
    dilation = (1,) if is_pool else layer.dilation or (1,)
    return tuple(each * axes if len(each) == 1 else each for each in (size, stride, dilation))


def _pads(
    layer: Spec,
    shape: Shape,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[tuple[int, int]]:
    """Zeros before and after each axis."""
    if layer.padding != "same":
        pads = layer.pads or (0,)
        each = pads * (len(shape) - 1) if len(pads) == 1 else pads
        return [(pad, pad) for pad in each]
    found = []
    for length, taps, step, spread in zip(shape, size, stride, dilation, strict=False):
        whole = max((-(-length // step) - 1) * step + spread * (taps - 1) + 1 - length, 0)
        found.append((whole // 2, whole - whole // 2))
    return found


class Embedding(nn.Embedding):
    """Tokens come as float numbers."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return super().forward(rows.long())


class Positions(nn.Module):
    """x + a vector for each position."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(length, width))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + self.weight[: rows.shape[1]]


class SelfAttention(nn.MultiheadAttention):
    """PyTorch's own attention of a sequence to itself."""

    def __init__(self, layer: Spec, width: int) -> None:
        super().__init__(width, layer.heads, bias=layer.bias, batch_first=True)
        self._is_causal = layer.causal

    def forward(self, rows: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        mask = nn.Transformer.generate_square_subsequent_mask(rows.shape[1])
        found, _ = super().forward(
            rows, rows, rows, attn_mask=mask if self._is_causal else None, need_weights=False
        )
        return found


class GroupedAttention(nn.Module):
    """Shared heads and rotary positions, which PyTorch has as functions or not at all."""

    def __init__(self, layer: Spec, width: int) -> None:
        super().__init__()
        self._layer = layer
        self._shared = layer.kv_heads or layer.heads
        self._width = width // layer.heads
        wide = (layer.heads + 2 * self._shared) * self._width
        self.in_proj_weight = nn.Parameter(torch.empty(wide, width))
        self.in_proj_bias = nn.Parameter(torch.empty(wide)) if layer.bias else None
        self.out_proj = nn.Linear(width, width, bias=layer.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        whole = functional.linear(rows, self.in_proj_weight, self.in_proj_bias)
        counts = (self._layer.heads, self._shared, self._shared)
        parts = whole.split([count * self._width for count in counts], dim=-1)
        queries, keys, values = (
            part.unflatten(-1, (count, self._width)).transpose(1, 2)
            for part, count in zip(parts, counts, strict=True)
        )
        if self._layer.rotary:
            queries, keys = _rotated(queries), _rotated(keys)
        found = functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=self._layer.causal, enable_gqa=True
        )
        return self.out_proj(found.transpose(1, 2).flatten(2))


def _rotated(heads: torch.Tensor) -> torch.Tensor:
    """Su et al. (2021) on the halves of a head, as complex numbers."""
    tokens, width = heads.shape[-2:]
    rates = 10_000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = torch.arange(tokens, dtype=torch.float64)[:, None] * rates
    first, second = heads.double().chunk(2, dim=-1)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), dim=-1).float()


def attention(layer: Spec, width: int) -> nn.Module:
    is_plain = layer.kv_heads is None and not layer.rotary
    return SelfAttention(layer, width) if is_plain else GroupedAttention(layer, width)


class Block(nn.Module):
    """The transformer block, its branches begun with a norm."""

    def __init__(self, layer: Spec, width: int) -> None:
        super().__init__()
        norm = {"layer_norm": nn.LayerNorm, "rms_norm": lambda width: nn.RMSNorm(width, 1e-6)}
        hidden = layer.hidden or 4 * width
        self.self_attn = attention(layer, width)
        self.linear1 = nn.Linear(width, hidden, bias=layer.bias)
        self.linear2 = nn.Linear(hidden, width, bias=layer.bias)
        self.norm1, self.norm2 = norm[layer.norm](width), norm[layer.norm](width)
        self._activation = ACTIVATIONS[layer.activation]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = rows + self.self_attn(self.norm1(rows))
        return rows + self.linear2(self._activation(self.linear1(self.norm2(rows))))


class EncoderLayer(nn.TransformerEncoderLayer):
    """PyTorch's own block."""

    def __init__(self, layer: Spec, width: int) -> None:
        super().__init__(
            width,
            layer.heads,
            layer.hidden or 4 * width,
            layer.dropout,
            ACTIVATIONS[layer.activation],
            batch_first=True,
            norm_first=True,
            bias=layer.bias,
        )
        self._is_causal = layer.causal

    def forward(self, rows: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        mask = nn.Transformer.generate_square_subsequent_mask(rows.shape[1])
        return super().forward(rows, src_mask=mask if self._is_causal else None)


ACTIVATIONS = {
    "gelu_tanh": nn.GELU("tanh"),
    "gelu": nn.GELU(),
    "relu": nn.ReLU(),
    "silu": nn.SiLU(),
}


def block(layer: Spec, width: int) -> nn.Module:
    is_plain = layer.kv_heads is None and not layer.rotary and layer.norm == "layer_norm"
    return EncoderLayer(layer, width) if is_plain else Block(layer, width)


def recurrent(kind: type[nn.RNNBase]) -> Builder:
    """PyTorch's LSTM or GRU, which puts out all states or the last of each direction."""

    class Recurrent(kind):  # type: ignore[misc, valid-type]
        def __init__(self, layer: Spec, shape: Shape) -> None:
            super().__init__(
                shape[-1],
                layer.units,
                bias=layer.bias,
                batch_first=True,
                bidirectional=layer.bidirectional,
            )
            self._puts_out_all = layer.return_sequences

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            every, last = super().forward(rows)
            if self._puts_out_all:
                return every
            states = last[0] if isinstance(last, tuple) else last
            return states.movedim(0, 1).flatten(1)

    return Recurrent


class Function(nn.Module):
    """A function of the rows."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self._function(rows)


def over_positions(reduction: Callable[..., torch.Tensor]) -> Builder:
    return lambda layer, shape: Function(
        lambda rows: reduction(rows, dim=tuple(range(1, rows.ndim - 1)))
    )


def joining(join: Callable[[list[torch.Tensor]], torch.Tensor]) -> Builder:
    """What the specimens of joining layers read: the data, what tanh makes of it, the data."""
    return lambda layer, shape: Function(lambda rows: join([rows, rows.tanh(), rows]))


class Residual(nn.Module):
    """shortcut(x) + layers(x)."""

    def __init__(self, layers: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers
        self.shortcut = shortcut

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.shortcut(rows) + self.layers(rows)


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
    "residual": lambda layer, shape: Residual(
        sequence(layer.layers, shape), sequence(layer.shortcut, shape)
    ),
    "elu": lambda layer, shape: nn.ELU(layer.alpha),
    "selu": lambda layer, shape: nn.SELU(),
    "silu": lambda layer, shape: nn.SiLU(),
    "softplus": lambda layer, shape: nn.Softplus(),
    "hardswish": lambda layer, shape: nn.Hardswish(),
    "softmax": lambda layer, shape: nn.Softmax(dim=-1),
    "layer_norm": lambda layer, shape: nn.LayerNorm(shape[-1], layer.epsilon),
    "rms_norm": lambda layer, shape: nn.RMSNorm(shape[-1], layer.epsilon),
    "embedding": lambda layer, shape: Embedding(layer.size, layer.width),
    "positions": lambda layer, shape: Positions(layer.length, shape[-1]),
    "attention": lambda layer, shape: attention(layer, shape[-1]),
    "transformer_block": lambda layer, shape: block(layer, shape[-1]),
    "conv1d": Convolution,
    "conv2d": Convolution,
    "max_pool1d": MaxPool,
    "max_pool2d": MaxPool,
    "average_pool1d": AveragePool,
    "average_pool2d": AveragePool,
    "global_average_pool": over_positions(torch.mean),
    "global_max_pool": over_positions(torch.amax),
    "batch_norm": lambda layer, shape: BatchNormOfLast(shape[-1], layer.epsilon, layer.momentum),
    "reshape": lambda layer, shape: Function(lambda rows: rows.reshape(len(rows), *layer.shape)),
    "concat": joining(lambda inputs: torch.cat(inputs, dim=-1)),
    "add": joining(lambda inputs: torch.stack(inputs).sum(dim=0)),
    "lstm": recurrent(nn.LSTM),
    "gru": recurrent(nn.GRU),
    "group_norm": lambda layer, shape: GroupNormOfLast(layer.groups, shape[-1], layer.epsilon),
}

# Layers that PyTorch has no module for, each with the reason.
TORCH_HAS_NONE: Mapping[str, str] = {}
