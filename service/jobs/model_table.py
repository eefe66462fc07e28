"""A model layer by layer, with what it computes and holds: numbers for people. Needs no NumPy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TableLayer:
    """One layer; FLOPs and bytes are those of one row, the shape leaves out the row axis.

    The bytes are what it keeps of the forward pass.
    """

    path: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    forward_flops: int
    backward_flops: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class TableInput:
    """What goes into the model, by its name, and the shape of a row."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in one worker; activations are those held at once, less than the layers' sum.

    Parameters and optimizer are one copy each of the trained numbers and of what the optimizer
    keeps; a worker holds two, and gradients.
    """

    parameters: int
    optimizer: int
    activations: int
    worker: int


@dataclass(frozen=True, slots=True)
class ModelTable:
    """All layers, presets expanded, and their sums; FLOPs are those of one row."""

    inputs: tuple[TableInput, ...]
    layers: tuple[TableLayer, ...]
    parameters: int
    forward_flops: int
    backward_flops: int
    activation_bytes: int
    batch_size: int
    shards: int
    memory: Memory
