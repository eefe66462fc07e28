"""A small example of every layer, loss and optimiser: what is compiled ahead, exported, compared.

Tests hold these tables to LAYERS, LOSSES and OPTIMIZERS, so that nothing new goes without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gradloom.worker.engine.arrays import Shape
from gradloom.worker.engine.spec import (
    Adagrad,
    Adam,
    AdamW,
    Add,
    Attention,
    AveragePool1d,
    AveragePool2d,
    BatchNorm,
    BinaryCrossEntropy,
    BlockActivation,
    BlockNorm,
    Concat,
    Conv1d,
    Conv2d,
    Dense,
    Dropout,
    Elu,
    Embedding,
    Flatten,
    Gelu,
    GeluApproximation,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    Gru,
    Hardswish,
    Huber,
    KlDivergence,
    Lamb,
    Layer,
    LayerNorm,
    LeakyRelu,
    Lion,
    Loss,
    Lstm,
    MaxPool1d,
    MaxPool2d,
    MeanAbsoluteError,
    MeanSquaredError,
    Padding,
    Positions,
    Relu,
    Reshape,
    Residual,
    RmsNorm,
    RmsProp,
    Selu,
    Sgd,
    Sigmoid,
    Silu,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    Tanh,
    Target,
    TransformerBlock,
    UpdateRule,
)

# Rows a layer is shown: plain numbers, a sequence (T, C) and an image (H, W, C).
VECTOR: Shape = (8,)
SEQUENCE: Shape = (6, 8)
# Tokens and widths of heads that fill the tiles of kernels.
TILED: Shape = (16, 32)
IMAGE: Shape = (6, 6, 8)
# Enough channels for the kernels that compute 16 at a time.
WIDE_IMAGE: Shape = (6, 6, 16)
# Channels that do not fill the lanes of a kernel.
ODD_IMAGE: Shape = (3, 2, 11)
ANY = (VECTOR, SEQUENCE, IMAGE)


@dataclass(frozen=True, slots=True)
class Specimen:
    """Variants of one layer, and the shapes of the rows they can be shown.

    The first variant leaves a shape as it is, where the layer can. With tokens the rows hold
    whole numbers below that one, and no others.
    """

    layers: tuple[Layer, ...]
    shapes: tuple[Shape, ...] = ANY
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class LossSpecimen:
    """A loss and what it is held to; the model puts out as many numbers as it wants."""

    loss: Loss
    target: Target
    outputs: Shape


SPECIMENS: Mapping[str, Specimen] = {
    "dense": Specimen((Dense(8), Dense(5), Dense(4, bias=False))),
    "relu": Specimen((Relu(),)),
    "leaky_relu": Specimen((LeakyRelu(), LeakyRelu(0.3))),
    "tanh": Specimen((Tanh(),)),
    "sigmoid": Specimen((Sigmoid(),)),
    "gelu": Specimen((Gelu(), Gelu(GeluApproximation.TANH))),
    "dropout": Specimen((Dropout(0.25),)),
    "flatten": Specimen((Flatten(),)),
    "residual": Specimen(
        (
            Residual((Dense(8), Relu())),
            Residual((Residual((Tanh(),)),)),
            Residual((Dense(5), Tanh()), (Dense(5),)),
        )
    ),
    "elu": Specimen((Elu(), Elu(0.5))),
    "selu": Specimen((Selu(),)),
    "silu": Specimen((Silu(),)),
    "softplus": Specimen((Softplus(),)),
    "hardswish": Specimen((Hardswish(),)),
    "softmax": Specimen((Softmax(),)),
    "layer_norm": Specimen((LayerNorm(),)),
    "rms_norm": Specimen((RmsNorm(),)),
    "group_norm": Specimen((GroupNorm(2),)),
    "embedding": Specimen((Embedding(5, 3), Embedding(5, 3, padding_index=1)), (VECTOR,), tokens=5),
    "positions": Specimen((Positions(6), Positions(9)), (SEQUENCE,)),
    "attention": Specimen(
        (
            Attention(2),
            Attention(2, causal=True, bias=False),
            Attention(4, kv_heads=2, causal=True, rotary=True),
        ),
        (SEQUENCE, TILED),
    ),
    "transformer_block": Specimen(
        (
            TransformerBlock(2, causal=True),
            TransformerBlock(
                4,
                kv_heads=1,
                rotary=True,
                hidden=12,
                activation=BlockActivation.SILU,
                norm=BlockNorm.RMS_NORM,
                dropout=0.25,
                bias=False,
            ),
        ),
        (SEQUENCE,),
    ),
    "conv1d": Specimen(
        (
            Conv1d(8, (3,), padding=Padding.SAME),
            Conv1d(8, (2,), (2,), pads=(1,), groups=4, bias=False),
            Conv1d(8, (3,), dilation=(2,), groups=8),
            Conv1d(16, (3,)),
        ),
        (SEQUENCE,),
    ),
    "conv2d": Specimen(
        (
            Conv2d(8, (3,), padding=Padding.SAME),
            Conv2d(8, (2, 3), (2,), pads=(1,), groups=4, bias=False),
            Conv2d(8, (3,), dilation=(2,), groups=8),
            Conv2d(16, (2,)),
            Conv2d(16, (3,), padding=Padding.SAME),
        ),
        (IMAGE, WIDE_IMAGE),
    ),
    "max_pool1d": Specimen((MaxPool1d((2,)), MaxPool1d((3,), (2,), pads=(1,))), (SEQUENCE,)),
    "max_pool2d": Specimen((MaxPool2d((2,)), MaxPool2d((3, 2), (2, 1), pads=(1,))), (IMAGE,)),
    "average_pool1d": Specimen(
        (AveragePool1d((2,)), AveragePool1d((3,), (2,), pads=(1,))), (SEQUENCE,)
    ),
    "average_pool2d": Specimen(
        (AveragePool2d((2,)), AveragePool2d((3, 2), (2, 1), pads=(1,))), (IMAGE,)
    ),
    "global_average_pool": Specimen((GlobalAveragePool(),), (SEQUENCE, IMAGE)),
    "global_max_pool": Specimen((GlobalMaxPool(),), (SEQUENCE, IMAGE)),
    "lstm": Specimen(
        (Lstm(5), Lstm(3, True, True), Lstm(4, bidirectional=True, bias=False)), (SEQUENCE,)
    ),
    "gru": Specimen(
        (Gru(5), Gru(3, True, True), Gru(4, bidirectional=True, bias=False)), (SEQUENCE,)
    ),
    "batch_norm": Specimen((BatchNorm(), BatchNorm(0.3, 0.1)), (*ANY, ODD_IMAGE)),
    "reshape": Specimen((Reshape((-1, 4)), Reshape((2, 2, -1)))),
}

# Layers of several inputs, which no chain can show.
OF_SEVERAL: Mapping[str, Layer] = {"concat": Concat(), "add": Add()}

_LABELS = Target("labels", classes=4)
_NUMBERS = Target("numbers", shape=(4,))

LOSS_SPECIMENS: Mapping[str, tuple[LossSpecimen, ...]] = {
    "softmax_cross_entropy": (
        LossSpecimen(SoftmaxCrossEntropy(), _LABELS, (4,)),
        LossSpecimen(SoftmaxCrossEntropy(0.1, 2, (0.5, 1.0, 2.0, 1.5)), _LABELS, (4,)),
    ),
    "mean_squared_error": (LossSpecimen(MeanSquaredError(), _NUMBERS, (4,)),),
    "binary_cross_entropy": (LossSpecimen(BinaryCrossEntropy(), _NUMBERS, (4,)),),
    "mean_absolute_error": (LossSpecimen(MeanAbsoluteError(), _NUMBERS, (4,)),),
    "huber": (LossSpecimen(Huber(), _NUMBERS, (4,)), LossSpecimen(Huber(0.5), _NUMBERS, (4,))),
    "kl_divergence": (LossSpecimen(KlDivergence(), _NUMBERS, (4,)),),
}

OPTIMIZER_SPECIMENS: Mapping[str, tuple[UpdateRule, ...]] = {
    "sgd": (Sgd(0.05), Sgd(0.05, 0.9, weight_decay=0.01), Sgd(0.05, 0.9, nesterov=True)),
    "adam": (Adam(0.01), Adam(0.01, weight_decay=0.01)),
    "adamw": (AdamW(0.01),),
    "adagrad": (Adagrad(0.05), Adagrad(0.05, weight_decay=0.01)),
    "rmsprop": (
        RmsProp(0.01),
        RmsProp(0.01, momentum=0.9, weight_decay=0.01),
        RmsProp(0.01, centered=True),
    ),
    "lion": (Lion(0.001, weight_decay=0.01),),
    "lamb": (Lamb(0.01),),
}
