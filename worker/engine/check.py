"""The ranges of a spec's numbers, and how far a model may go: all that needs no shapes."""

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradloom.worker.engine.presets import expanded
from gradloom.worker.engine.spec import (
    LAYERS,
    OBJECTIVES,
    OPTIMIZERS,
    PRESETS,
    SCHEDULES,
    Adagrad,
    Adam,
    AdamW,
    Attention,
    AveragePool1d,
    AveragePool2d,
    BatchNorm,
    ConstantSchedule,
    Conv1d,
    Conv2d,
    Convolution,
    CosineRestartsSchedule,
    CosineSchedule,
    Dense,
    Dropout,
    Elu,
    Embedding,
    ExponentialSchedule,
    Fault,
    Gpt,
    GroupNorm,
    Gru,
    Huber,
    Joint,
    JointPart,
    KlDivergence,
    Lamb,
    Layer,
    LayerNorm,
    LeakyRelu,
    LeNet,
    Lion,
    Loss,
    Lstm,
    LstmNetwork,
    MaxPool1d,
    MaxPool2d,
    Mlp,
    Model,
    OneCycleSchedule,
    Optimizer,
    Padding,
    Pool,
    Positions,
    ReduceOnPlateauSchedule,
    Reshape,
    Residual,
    ResNet,
    RmsNorm,
    RmsProp,
    Schedule,
    Sgd,
    Softmax,
    SoftmaxCrossEntropy,
    StepSchedule,
    TransformerBlock,
    WeightAverage,
)
from gradloom.worker.engine.wiring import wiring_faults

MOST_LAYERS = 10_000
MOST_NODES = 1_000
MOST_DEPTH = 32

# The word a job file uses for each part of a spec.
WORDS: dict[type, str] = {
    part: word
    for table in (LAYERS, OBJECTIVES, OPTIMIZERS, SCHEDULES, PRESETS)
    for word, part in table.items()
}


@dataclass(frozen=True, slots=True)
class Range:
    """Which numbers a field takes, and what to say about others."""

    low: float = 0
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    too_low: str = "give 0 or more"
    too_high: str = ""

    def __contains__(self, value: float) -> bool:
        above = self.low < value if self.open_low else self.low <= value
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def complaint(self, value: float) -> str:
        """What is wrong with a number outside, with the remedy."""
        return self.too_low if value <= self.low else self.too_high


def _share(what: str) -> Range:
    sentence = f"it is {what}, from 0 up to but not 1"
    return Range(0, 1, open_high=True, too_low=sentence, too_high=sentence)


UNITS = Range(1, 65_536, too_low="give at least 1", too_high="the largest allowed is 65536")
RATE = Range(
    0, 1000, True, too_low="give a positive number", too_high="the largest allowed is 1000"
)
POSITIVE = Range(0, open_low=True, too_low="give a positive number")
AXIS = Range(-1, 2**31, too_low="give -1, or 1 and more")
DEPTH = Range(1, 1000, too_low="give at least 1", too_high="the largest allowed is 1000")
COUNT = Range(1, too_low="give at least 1")
# float32 holds whole numbers exactly up to here.
INDICES = Range(1, 1 << 24, too_low="give at least 1", too_high="the largest allowed is 16777216")
NOT_NEGATIVE = Range()
ANY = Range(-math.inf)
EXTENT = Range(1, 1024, too_low="give at least 1", too_high="the largest allowed is 1024")
PADS = Range(0, 1024, too_high="the largest allowed is 1024")
DECAY = _share("the share kept from one step to the next")

_ADAM = {
    "learning_rate": RATE,
    "beta1": DECAY,
    "beta2": DECAY,
    "epsilon": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
}
_MOMENTUM = "it is the share of the newest batch in a running mean, more than 0 and at most 1"
_CONVOLUTION = {
    "filters": UNITS,
    "kernel": EXTENT,
    "stride": EXTENT,
    "pads": PADS,
    "dilation": EXTENT,
    "groups": COUNT,
}
_POOL = {"size": EXTENT, "stride": EXTENT, "pads": PADS}
_FINAL = "it is the share of the rate left at the end, from 0 to 1"
_START = "it is the share of the rate at the beginning, from 0 to 1"
_LEAST = "it is the share of the rate that it never falls below, from 0 to 1"
_FACTOR = "it multiplies the rate, more than 0 and at most 1"

RANGES: Mapping[type, Mapping[str, Range]] = {
    Dense: {"units": UNITS, "bias_initial": ANY},
    LeakyRelu: {"slope": _share("the slope below 0")},
    Dropout: {"rate": _share("the share dropped")},
    Elu: {"alpha": POSITIVE},
    LayerNorm: {"epsilon": POSITIVE},
    RmsNorm: {"epsilon": POSITIVE},
    Reshape: {"shape": AXIS},
    Mlp: {"outputs": UNITS, "hidden": UNITS, "dropout": _share("the share dropped")},
    LeNet: {"outputs": UNITS, "shape": AXIS},
    ResNet: {"outputs": UNITS, "blocks": DEPTH, "width": UNITS, "shape": AXIS},
    Gpt: {
        "vocabulary": UNITS,
        "context": UNITS,
        "layers": DEPTH,
        "width": UNITS,
        "heads": COUNT,
        "kv_heads": COUNT,
        "dropout": _share("the share dropped"),
    },
    LstmNetwork: {
        "outputs": UNITS,
        "units": UNITS,
        "layers": DEPTH,
        "dropout": _share("the share dropped"),
    },
    SoftmaxCrossEntropy: {
        "label_smoothing": _share("the share spread over all classes"),
        "ignore_index": NOT_NEGATIVE,
        "class_weights": NOT_NEGATIVE,
    },
    Huber: {"delta": POSITIVE},
    JointPart: {"weight": POSITIVE},
    GroupNorm: {"groups": COUNT, "epsilon": POSITIVE},
    Embedding: {"size": INDICES, "width": UNITS, "padding_index": NOT_NEGATIVE},
    Positions: {"length": UNITS},
    Attention: {"heads": COUNT, "kv_heads": COUNT},
    TransformerBlock: {
        "heads": COUNT,
        "kv_heads": COUNT,
        "hidden": UNITS,
        "dropout": _share("the share dropped"),
    },
    BatchNorm: {
        "momentum": Range(0, 1, True, too_low=_MOMENTUM, too_high=_MOMENTUM),
        "epsilon": POSITIVE,
    },
    Conv1d: _CONVOLUTION,
    Conv2d: _CONVOLUTION,
    MaxPool1d: _POOL,
    MaxPool2d: _POOL,
    AveragePool1d: _POOL,
    AveragePool2d: _POOL,
    Lstm: {"units": UNITS},
    Gru: {"units": UNITS},
    Sgd: {
        "learning_rate": RATE,
        "momentum": DECAY,
        "weight_decay": NOT_NEGATIVE,
    },
    Adam: _ADAM,
    AdamW: _ADAM,
    Adagrad: {"learning_rate": RATE, "epsilon": POSITIVE, "weight_decay": NOT_NEGATIVE},
    RmsProp: {
        "learning_rate": RATE,
        "decay": DECAY,
        "epsilon": POSITIVE,
        "weight_decay": NOT_NEGATIVE,
        "momentum": DECAY,
    },
    Lion: {"learning_rate": RATE, "beta1": DECAY, "beta2": DECAY, "weight_decay": NOT_NEGATIVE},
    Lamb: _ADAM,
    Optimizer: {"clip_norm": POSITIVE, "clip_value": POSITIVE},
    WeightAverage: {"decay": DECAY},
    ConstantSchedule: {"warmup_steps": NOT_NEGATIVE},
    StepSchedule: {
        "every_steps": COUNT,
        "factor": Range(0, 1, True, too_low=_FACTOR, too_high=_FACTOR),
        "warmup_steps": NOT_NEGATIVE,
    },
    CosineSchedule: {
        "final_ratio": Range(0, 1, too_low=_FINAL, too_high=_FINAL),
        "warmup_steps": NOT_NEGATIVE,
    },
    ExponentialSchedule: {
        "factor": Range(0, 1, True, too_low=_FACTOR, too_high=_FACTOR),
        "every_steps": COUNT,
        "warmup_steps": NOT_NEGATIVE,
    },
    OneCycleSchedule: {
        "start_ratio": Range(0, 1, too_low=_START, too_high=_START),
        "final_ratio": Range(0, 1, too_low=_FINAL, too_high=_FINAL),
        "rise": _share("the share of the steps that go up"),
        "warmup_steps": NOT_NEGATIVE,
    },
    CosineRestartsSchedule: {
        "period_steps": COUNT,
        "multiplier": COUNT,
        "final_ratio": Range(0, 1, too_low=_FINAL, too_high=_FINAL),
        "warmup_steps": NOT_NEGATIVE,
    },
    ReduceOnPlateauSchedule: {
        "factor": Range(0, 1, True, too_low=_FACTOR, too_high=_FACTOR),
        "patience": NOT_NEGATIVE,
        "threshold": _share("the share by which a loss has to be below the best"),
        "min_ratio": Range(0, 1, too_low=_LEAST, too_high=_LEAST),
        "warmup_steps": NOT_NEGATIVE,
    },
}


# How many axes windows slide over.
WINDOW_AXES: Mapping[type, int] = {
    Conv1d: 1,
    Conv2d: 2,
    MaxPool1d: 1,
    MaxPool2d: 2,
    AveragePool1d: 1,
    AveragePool2d: 2,
}


def check_model(model: Model, loss: Loss, inputs: Sequence[str] | None = None) -> tuple[Fault, ...]:
    """Every fault of the model and the loss that shows without the data's shapes.

    inputs are the names of the data's arrays, where they are known.
    """
    if model.kind is not None and (faults := tuple(_preset_faults(model))):
        return faults
    too_large = tuple(_size_faults(model))
    if too_large:
        return too_large
    layers = (pair for path, chain in _chains(model) for pair in _walk(chain, path))
    return (
        *_form_faults(model),
        *(wiring_faults(model, inputs) if model.nodes else ()),
        *(fault for path, layer in layers for fault in check_layer(path, layer)),
        *_check_ends(model, loss),
        *_check_loss(f"loss.{WORDS[type(loss)]}", loss),
        *_check_outputs(model, loss),
    )


def has_no_order(faults: tuple[Fault, ...]) -> bool:
    """Whether faults of the model as a whole leave no order in which to look at its layers."""
    return any(
        fault.field.startswith(("model", "loss.joint")) and ".layers[" not in fault.field
        for fault in faults
    )


def path_of(model: Model) -> str:
    """Where the layers of a chain stand in the spec, or their preset."""
    return "model" if model.kind is None else f"model.{WORDS[type(model.kind)]}"


def _preset_faults(model: Model) -> Iterator[Fault]:
    """What keeps a preset from being expanded."""
    yield from _check_numbers(path_of(model), model.kind)


def _chains(model: Model) -> Iterator[tuple[str, tuple[Layer, ...]]]:
    """Paths and layers of the model's chains: itself, its preset's, or each of its nodes."""
    if model.layers:
        yield "model", model.layers
    if model.kind is not None:
        yield path_of(model), expanded(Model(kind=model.kind)).layers
    for place, node in enumerate(model.nodes):
        yield f"model.nodes[{place}]", node.layers


def _size_faults(model: Model) -> Iterator[Fault]:
    if len(model.nodes) > MOST_NODES:
        sentence = f"The model has {len(model.nodes)} nodes, the limit is {MOST_NODES}: use fewer."
        yield Fault("model.nodes", sentence)
        return
    chains = tuple(_chains(model))
    for path, layers in chains:
        if _deeper_than(MOST_DEPTH, layers):
            sentence = f"Layers are nested deeper than {MOST_DEPTH}: flatten the model."
            yield Fault(f"{path}.layers", sentence)
            return
    count = sum(1 for path, layers in chains for _ in _walk(layers, path))
    if count > MOST_LAYERS:
        sentence = f"The model has {count} layers, the limit is {MOST_LAYERS}: use fewer."
        yield Fault("model.layers", sentence)


def _preset_word(model: Model) -> str:
    return "a preset" if model.kind is None else WORDS[type(model.kind)]


def _form_faults(model: Model) -> Iterator[Fault]:
    forms = {"layers": model.layers, "nodes": model.nodes, _preset_word(model): model.kind}
    given = [name for name, form in forms.items() if form]
    if len(given) > 1:
        yield Fault("model", f"{', '.join(given[:-1])} and {given[-1]} are given: keep one.")
    elif not given:
        yield Fault("model.layers", _EMPTY_MODEL)
    if model.outputs and not model.nodes:
        yield Fault("model.outputs", _OUTPUTS_OF_LAYERS)


def check_optimizer(optimizer: Optimizer) -> tuple[Fault, ...]:
    """Every fault of the optimiser."""
    kind = optimizer.kind
    path = f"optimizer.{WORDS[type(kind)]}"
    faults = [*_check_numbers(path, kind), *_check_numbers("optimizer", optimizer)]
    if optimizer.average is not None:
        faults += _check_numbers("optimizer.average", optimizer.average)
    if isinstance(kind, Sgd) and kind.nesterov and kind.momentum == 0:
        sentence = "nesterov needs momentum: set momentum, for example 0.9."
        faults.append(Fault(f"{path}.nesterov", sentence))
    return tuple(faults)


def check_schedule(schedule: Schedule, steps: int) -> tuple[Fault, ...]:
    """Every fault of the schedule of a training of so many steps."""
    path = f"schedule.{WORDS[type(schedule)]}"
    faults = list(_check_numbers(path, schedule))
    if schedule.warmup_steps >= max(steps, 1):
        sentence = (
            f"Warm-up lasts {schedule.warmup_steps} steps, training only {steps}: "
            "shorten the warm-up or train longer."
        )
        faults.append(Fault(f"{path}.warmup_steps", sentence))
    return tuple(faults)


_EMPTY_MODEL = "The model has no layers: add at least one, for example dense."
_OUTPUTS_OF_LAYERS = "outputs are names of nodes, and the model has none: leave outputs out."
_NO_SHAPE = "shape is missing: give a row's axes, for example [28, 28, 1]."
_TWO_RESTS = "shape holds -1 more than once: only one axis can follow from the others."
_NO_BIAS = "bias_initial is given, but bias is false: leave one of them out."
_EMPTY_BLOCK = "The block has no layers: add at least one or remove it."


_SECOND_SOFTMAX = "The loss applies softmax itself: remove this layer."
_APPLY_SOFTMAX = (SoftmaxCrossEntropy, KlDivergence)


def _check_ends(model: Model, loss: Loss) -> Iterator[Fault]:
    """Softmax layers that the loss's own would follow."""
    for path, layers, its_loss in _ends(model, loss):
        if layers and isinstance(layers[-1], Softmax) and isinstance(its_loss, _APPLY_SOFTMAX):
            yield Fault(f"{path}.layers[{len(layers) - 1}].softmax", _SECOND_SOFTMAX)


def _ends(model: Model, loss: Loss) -> Iterator[tuple[str, tuple[Layer, ...], Loss]]:
    """Paths and layers of the chains whose output goes into a loss, and the loss."""
    names = {f"model.nodes[{place}]": node.name for place, node in enumerate(model.nodes)}
    losses = {part.output: part.loss for part in _parts(loss)}
    for path, layers in _chains(model):
        if path not in names or names[path] in model.outputs:
            yield path, layers, losses.get(names.get(path, ""), loss)


def _parts(loss: Loss) -> tuple[JointPart, ...]:
    return loss.parts if isinstance(loss, Joint) else ()


def _check_outputs(model: Model, loss: Loss) -> Iterator[Fault]:
    """That every output of a model has one loss, and every loss an output."""
    if not isinstance(loss, Joint):
        if len(model.outputs) > 1:
            yield Fault("loss", _SEVERAL_OUTPUTS.format(len(model.outputs)))
        return
    if not model.nodes:
        yield Fault("loss.joint", _JOINT_OF_LAYERS)
        return
    read = [part.output for part in loss.parts]
    for place, name in enumerate(model.outputs):
        if name not in read:
            sentence = f'Output "{name}" has no loss: add it to loss.joint.parts or take it out.'
            yield Fault(f"model.outputs[{place}]", sentence)
    for place, name in enumerate(read):
        path = f"loss.joint.parts[{place}].output"
        if name not in model.outputs:
            outputs = ", ".join(model.outputs)
            yield Fault(path, f'"{name}" is not among model.outputs: {outputs}.')
        elif name in read[:place]:
            yield Fault(path, f'Output "{name}" has a loss already: keep one.')


def _check_loss(path: str, loss: Loss) -> Iterator[Fault]:
    if isinstance(loss, Joint):
        yield from _check_joint(path, loss)
        return
    yield from _check_numbers(path, loss)
    if isinstance(loss, SoftmaxCrossEntropy) and loss.class_weights and not any(loss.class_weights):
        sentence = "class_weights are all 0: give a positive number to at least one class."
        yield Fault(f"{path}.class_weights", sentence)


def check_parts(joint: Joint) -> Iterator[Fault]:
    """What keeps the targets of a joint loss from being read."""
    if len(joint.parts) < 2:
        yield Fault("loss.joint.parts", _FEW_PARTS)
    for place, part in enumerate(joint.parts):
        here = f"loss.joint.parts[{place}]"
        if not part.target:
            yield Fault(f"{here}.target", _NO_PART_TARGET)
        if isinstance(part.loss, Joint):
            yield Fault(f"{here}.loss", _NESTED_JOINT)


def _check_joint(path: str, joint: Joint) -> Iterator[Fault]:
    yield from check_parts(joint)
    for place, part in enumerate(joint.parts):
        here = f"{path}.parts[{place}]"
        yield from _check_numbers(here, part)
        if not isinstance(part.loss, Joint):
            yield from _check_loss(f"{here}.loss.{WORDS[type(part.loss)]}", part.loss)


_FEW_PARTS = "joint needs two parts or more: use the loss alone, with data.target."
_NO_PART_TARGET = "target is missing: name the array or column this output is held to."
_NESTED_JOINT = "joint cannot stand inside joint: list all parts in one."
_SEVERAL_OUTPUTS = (
    "The model has {0} outputs: give each its own target and loss with joint, or name one output."
)
_JOINT_OF_LAYERS = (
    "joint is for models of nodes with several outputs: use one loss, or model.nodes."
)


def _deeper_than(depth: int, layers: tuple[Layer, ...]) -> bool:
    for _ in range(depth):
        layers = tuple(inner for layer in layers for inner in _inside(layer))
        if not layers:
            return False
    return True


def _inside(layer: Layer) -> tuple[Layer, ...]:
    return (*layer.layers, *layer.shortcut) if isinstance(layer, Residual) else ()


def _walk(
    layers: tuple[Layer, ...], path: str, field: str = "layers"
) -> Iterator[tuple[str, Layer]]:
    for index, layer in enumerate(layers):
        here = f"{path}.{field}[{index}].{WORDS[type(layer)]}"
        yield here, layer
        if isinstance(layer, Residual):
            yield from _walk(layer.layers, here)
            yield from _walk(layer.shortcut, here, "shortcut")


def _check_windows(path: str, layer: Convolution | Pool) -> Iterator[Fault]:
    axes = WINDOW_AXES[type(layer)]
    extent = "kernel" if isinstance(layer, Convolution) else "size"
    for name in (extent, "stride", "pads", "dilation"):
        given = len(getattr(layer, name, ()))
        if given not in {1, axes} and (given or name == extent):
            yield Fault(f"{path}.{name}", _wrong_count(name, given, axes))
    if layer.pads and layer.padding is not Padding.VALID:
        sentence = f"Both padding: {layer.padding} and pads are given: leave one out."
        yield Fault(f"{path}.pads", sentence)
    if isinstance(layer, Pool) and _reaches_too_far(layer, axes):
        yield Fault(f"{path}.pads", "pads are at most half of size: make them smaller.")


def _reaches_too_far(layer: Pool, axes: int) -> bool:
    """Whether a window may lie outside of the input."""
    pads, size = (each * axes if len(each) == 1 else each for each in (layer.pads, layer.size))
    return any(2 * pad > extent for pad, extent in zip(pads, size, strict=False))


def _wrong_count(name: str, given: int, axes: int) -> str:
    each = "" if axes == 1 else f", or {axes}, one for each axis"
    if not given:
        return f"{name} is missing: give one number{each}, for example {name}: 3."
    return f"{name} has {given} numbers: give one{each}."


def check_layer(path: str, layer: Layer | Convolution | Pool) -> Iterator[Fault]:
    """Every fault of a layer by itself, but not of the layers inside it."""
    yield from _MORE_CHECKS.get(type(layer), _nothing_more)(path, layer)
    yield from _check_numbers(path, layer)


# Any: each check takes its own layer.
def _nothing_more(_path: str, _layer: Any) -> Iterator[Fault]:
    yield from ()


def _check_dense(path: str, layer: Dense) -> Iterator[Fault]:
    if layer.bias_initial and not layer.bias:
        yield Fault(f"{path}.bias_initial", _NO_BIAS)


def _check_block(path: str, layer: Residual) -> Iterator[Fault]:
    if not layer.layers:
        yield Fault(f"{path}.layers", _EMPTY_BLOCK)


def _check_reshape(path: str, layer: Reshape) -> Iterator[Fault]:
    if not layer.shape:
        yield Fault(f"{path}.shape", _NO_SHAPE)
    if layer.shape.count(-1) > 1:
        yield Fault(f"{path}.shape", _TWO_RESTS)
    for axis, length in enumerate(layer.shape):
        if length == 0:
            yield Fault(f"{path}.shape[{axis}]", f"shape[{axis}] is 0: give -1, or 1 and more.")


_MORE_CHECKS: Mapping[type, Callable[[str, Any], Iterator[Fault]]] = {
    Dense: _check_dense,
    Residual: _check_block,
    Reshape: _check_reshape,
    **dict.fromkeys(WINDOW_AXES, _check_windows),
}


def _check_numbers(path: str, part: object) -> Iterator[Fault]:
    for name, allowed in RANGES.get(type(part), {}).items():
        for item, value in _numbers(name, getattr(part, name)):
            complaint = _complaint(value, allowed)
            if complaint is not None:
                yield Fault(f"{path}.{item}", f"{item} {complaint}.")


Number = int | float


def _numbers(name: str, value: Number | tuple[Number, ...] | None) -> Iterator[tuple[str, Number]]:
    """A field's numbers with the names to call them by."""
    if isinstance(value, tuple):
        yield from ((f"{name}[{index}]", number) for index, number in enumerate(value))
    elif value is not None:
        yield name, value


def _complaint(value: int | float, allowed: Range) -> str | None:
    if not math.isfinite(value):
        return f"is {_spoken(value)}: give a finite number"
    if value not in allowed:
        return f"is {value}: {allowed.complaint(value)}"
    return None if isinstance(value, int) else _rounding(value, allowed)


def _spoken(value: float) -> str:
    return "NaN" if math.isnan(value) else "infinite"


def _rounding(value: float, allowed: Range) -> str | None:
    """What is lost when the number becomes a float32, where that changes its meaning."""
    rounded = _as_float32(value)
    if math.isinf(rounded):
        return f"{value} is infinite in float32: use at most 3.4e38"
    if rounded == 0 and value != 0:
        return f"{value} rounds to zero in float32: use at least 1.2e-38"
    if rounded not in allowed:
        return f"{value} rounds to {rounded:g} in float32: {allowed.complaint(rounded)}"
    return None


def _as_float32(value: float) -> float:
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded
