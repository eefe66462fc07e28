"""What a message's descriptor says: its fields, their kinds, and the short words of its enums."""

from collections.abc import Mapping
from typing import cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from gradloom.worker.engine.spec import LAYERS, OBJECTIVES, OPTIMIZERS, PRESETS, SCHEDULES

# The oneof of a message that names one of several kinds, and the words of each such message.
ONEOF = "kind"
KINDS: dict[str, Mapping[str, type]] = {
    "Layer": LAYERS,
    "LossSpec": OBJECTIVES,
    "OptimizerSpec": OPTIMIZERS,
    "ScheduleSpec": SCHEDULES,
    "ModelSpec": PRESETS,
}

# What is said where a required message or kind is missing, by the name of the field.
_MISSING = {
    "data": "data is missing: name a file in data.path and what to predict in data.target.",
    "model": "model is missing: list its layers in model.layers.",
    "loss": "loss is missing: for class labels use softmax_cross_entropy.",
    "optimizer": 'optimizer is missing: name one, for example "adam: {learning_rate: 0.001}".',
    "training": "training is missing: give batch_size and epochs.",
    "schedule": 'schedule is empty: name one, for example "cosine: {}", or leave it out.',
    "layers": 'This layer is empty: name one, for example "relu: {}".',
    "spec": "spec is missing: a job needs one.",
}


def missing_sentence(path: str) -> str:
    """What to say about a required message, kind or enum that is missing."""
    name = path.rpartition(".")[2].partition("[")[0]
    return _MISSING.get(name, f"{name} is missing.")


def descriptor_of(message: Message) -> Descriptor:
    """A message's descriptor."""
    # The stubs also allow for the C implementation's own class, which has the same attributes.
    return cast(Descriptor, message.DESCRIPTOR)


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    message: Descriptor | None = field.message_type
    return message is not None and message.GetOptions().map_entry


def map_values(field: FieldDescriptor) -> FieldDescriptor:
    """What the values of a map are."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is no map")
    return field.message_type.fields_by_name["value"]


def is_choice(message: Descriptor) -> bool:
    """Whether a message names one of several kinds."""
    return message.name in KINDS


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The enum of a field that has one."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} is no enum")
    return field.enum_type


def enum_prefix(enum: EnumDescriptor) -> str:
    """What the names of an enum's values begin with, such as NORMALIZE_."""
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def short_name(enum: EnumDescriptor, number: int) -> str:
    """The word a job file uses for an enum's value: NORMALIZE_STANDARD is standard."""
    return enum.values_by_number[number].name.removeprefix(enum_prefix(enum)).lower()


def short_names(enum: EnumDescriptor) -> dict[str, int]:
    """The words a job file may use for an enum, and their numbers."""
    return {short_name(enum, value.number): value.number for value in enum.values if value.number}
