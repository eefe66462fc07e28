"""From the nodes of a job file to its message: one walk that gathers every fault."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from gradloom.service.descriptors import KINDS, ONEOF, descriptor_of, is_choice, is_map, map_values
from gradloom.service.errors import SpecFault
from gradloom.service.job_scalars import NotThisValue, Scalar, Word, duration, expected, scalar
from gradloom.service.sentences import nearest, quoted, shown

# Line and column, both from 1.
Position = tuple[int, int]
# A repeated field or a map: protobuf's containers share no class that its stubs know.
Container = Any
Reader = Callable[[FieldDescriptor, Word], Scalar]

# What a message of several kinds is called in a sentence, one and many.
_NOUNS = {
    "Layer": ("layer", "layers"),
    "LossSpec": ("loss", "losses"),
    "OptimizerSpec": ("optimizer", "optimizers"),
    "ScheduleSpec": ("schedule", "schedules"),
    "ModelSpec": ("preset", "presets"),
}
_BAD_KEY = "A key is one word, not a list or a mapping."
_MERGE_KEY = "Merge keys are not accepted in job files: write the values out."


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping and its value; path is the value's in the spec."""

    key: yaml.Node
    value: yaml.Node
    name: str
    path: str

    @property
    def position(self) -> Position:
        """Where to point: at a word that is written, else at the key."""
        word = _word(self.value)
        return _position(self.key if word is None or word.is_null else self.value)


@dataclass(frozen=True, slots=True)
class Walk:
    """Fills messages from nodes, noting each fault and where each field stands in the file."""

    faults: list[SpecFault] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)

    def message(self, node: yaml.Node, message: Message, path: str = "") -> None:
        """Fills a message from a mapping; an empty node is an empty message."""
        descriptor = descriptor_of(message)
        if isinstance(node, yaml.MappingNode):
            for entry in self._entries(node, lambda key: _field_path(descriptor, key, path)):
                self._entry(entry, message, path)
        elif not _is_null(node):
            self._add(path, _no_mapping(node, path, descriptor), _position(node))

    def _entries(
        self, node: yaml.MappingNode, locate: Callable[[str], tuple[str, str]]
    ) -> Iterator[Entry]:
        """Entries of a mapping, less those whose key is no word or was there before."""
        seen: dict[str, Entry] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._add("$", _BAD_KEY, _position(key))
                continue
            entry = Entry(key, value, *locate(key.value))
            if entry.name in seen:
                self._add(entry.path, _twice(seen[entry.name], entry), _position(key))
                continue
            seen[entry.name] = entry
            self.positions[entry.path] = entry.position
            yield entry

    def _entry(self, entry: Entry, message: Message, path: str) -> None:
        """Fills the field an entry names, if there is one and no other kind was named before."""
        descriptor = descriptor_of(message)
        found = descriptor.fields_by_name.get(entry.name)
        if found is None:
            self._unknown(entry, descriptor, path)
            return
        chosen = message.WhichOneof(ONEOF) if _is_kind(found) else None
        if chosen:
            self._add(path, _two_kinds(chosen, entry.name, descriptor), _position(entry.key))
            return
        self._fill(entry, found, message)

    def _fill(self, entry: Entry, found: FieldDescriptor, message: Message) -> None:
        if is_map(found):
            self._map(entry, found, getattr(message, found.name))
        elif found.is_repeated:
            self._list(entry, found, getattr(message, found.name))
        elif found.message_type is None:
            value = self._scalar(entry.value, entry.path, found)
            if value is not None:
                setattr(message, found.name, value)
        else:
            self._message(entry, found, getattr(message, found.name))

    def _message(self, entry: Entry, found: FieldDescriptor, message: Message) -> None:
        if not isinstance(message, Duration):
            message.SetInParent()
            self.message(entry.value, message, entry.path)
        elif text := self._scalar(entry.value, entry.path, found, duration):
            message.FromJsonString(str(text))

    def _list(self, entry: Entry, found: FieldDescriptor, items: Container) -> None:
        if _is_one_of_some(entry.value, found):
            nodes = [entry.value]
        elif isinstance(entry.value, yaml.SequenceNode):
            nodes = entry.value.value
        else:
            self._expect(entry, "a list")
            return
        for index, node in enumerate(nodes):
            path = f"{entry.path}[{index}]"
            self.positions[path] = _position(node)
            if found.message_type:
                self.message(node, items.add(), path)
            elif (value := self._scalar(node, path, found)) is not None:
                items.append(value)

    def _map(self, entry: Entry, found: FieldDescriptor, items: Container) -> None:
        if not isinstance(entry.value, yaml.MappingNode):
            self._expect(entry, "a mapping")
            return
        values = map_values(found)
        for item in self._entries(entry.value, lambda key: _item_path(key, entry.path)):
            if (value := self._scalar(item.value, item.path, values)) is not None:
                items[item.name] = value

    def _scalar(
        self, node: yaml.Node, path: str, found: FieldDescriptor, read: Reader = scalar
    ) -> Scalar | None:
        """The value of a word; None where it is a fault."""
        word = _word(node)
        if word is None:
            sentence = f"{found.name} is {_kind_of(node)}, expected {expected(found)}."
            self._add(path, sentence, _position(node))
            return None
        try:
            return read(found, word)
        except NotThisValue as fault:
            self._add(path, str(fault), _position(node))
            return None

    def _expect(self, entry: Entry, kind: str) -> None:
        """Adds a fault for a value of another kind; nothing at all passes for an empty one."""
        if not _is_null(entry.value):
            sentence = f"{entry.name} is {_kind_of(entry.value)}, expected {kind}."
            self._add(entry.path, sentence, entry.position)

    def _unknown(self, entry: Entry, descriptor: Descriptor, path: str) -> None:
        position = _position(entry.key)
        if entry.name == "<<":
            self._add(path, _MERGE_KEY, position)
        elif is_choice(descriptor):
            self._add(path, _no_such_kind(entry.name, descriptor), position)
        else:
            self._add(entry.path, _no_such_field(entry.name, descriptor, path), position)

    def _add(self, path: str, description: str, position: Position) -> None:
        self.faults.append(SpecFault(path or "$", description, *position))


def _word(node: yaml.Node) -> Word | None:
    if not isinstance(node, yaml.ScalarNode):
        return None
    return Word(node.value, is_plain=node.style in (None, ""))


def _is_null(node: yaml.Node) -> bool:
    word = _word(node)
    return word is not None and word.is_null


def _is_one_of_some(node: yaml.Node, found: FieldDescriptor) -> bool:
    """Whether this is a whole number where several may stand: kernel: 3 is kernel: [3]."""
    is_whole = found.cpp_type == FieldDescriptor.CPPTYPE_INT32
    return is_whole and _word(node) is not None and not _is_null(node)


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _is_kind(found: FieldDescriptor) -> bool:
    """Whether a field is one of several kinds; an optional scalar has a oneof of its own."""
    return found.containing_oneof is not None and found.containing_oneof.name == ONEOF


def _field_path(descriptor: Descriptor, key: str, path: str) -> tuple[str, str]:
    """A field's name in the .proto, though written in camelCase, and its path."""
    by_json_name = {found.json_name: found.name for found in descriptor.fields}
    name = by_json_name.get(key, key)
    return name, f"{path}.{shown(name)}" if path else shown(name)


def _item_path(key: str, path: str) -> tuple[str, str]:
    return key, f"{path}[{quoted(key)}]"


def _kind_of(node: yaml.Node) -> str:
    word = _word(node)
    if word is not None:
        return word.kind
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _twice(first: Entry, second: Entry) -> str:
    one, two = _position(first.key)[0], _position(second.key)[0]
    where = f"both on line {one}" if one == two else f"lines {one} and {two}"
    return f"{second.path} is given twice ({where}): keep one."


def _two_kinds(chosen: str, name: str, descriptor: Descriptor) -> str:
    if descriptor.name == "Layer":
        return f"One entry names both {chosen} and {name}: make two entries."
    return f"Both {chosen} and {name} are named: keep one."


def _no_mapping(node: yaml.Node, path: str, descriptor: Descriptor) -> str:
    word = _word(node)
    if word is None or not is_choice(descriptor):
        return f"{path} is {_kind_of(node)}, expected a mapping."
    if word.text in KINDS[descriptor.name]:
        return f'{path} is a word alone: write "{word.text}: {{}}".'
    return _no_such_kind(word.text, descriptor)


def _no_such_kind(name: str, descriptor: Descriptor) -> str:
    noun, nouns = _NOUNS[descriptor.name]
    near = nearest(name, descriptor.fields_by_name)
    hint = f" Nearest: {near}." if near else ""
    return f"There is no {noun} {quoted(name)}.{hint} All {nouns}: {_all_kinds(descriptor)}."


def _all_kinds(descriptor: Descriptor) -> str:
    """The kinds there are, or the command that lists them with their fields."""
    if descriptor.name == "Layer":
        return "gradloom describe-model --layers"
    kinds = KINDS[descriptor.name]
    others = ", ".join(field for field in descriptor.fields_by_name if field not in kinds)
    return ", ".join(kinds) + (f"; beside them: {others}" if others else "")


def _no_such_field(name: str, descriptor: Descriptor, path: str) -> str:
    owner = path.rpartition(".")[2] or "A job"
    if not descriptor.fields:
        return f"{owner} has no field {quoted(name)}, nor any other: write {owner}: {{}}."
    near = nearest(name, descriptor.fields_by_name)
    hint = f' Did you mean "{near}"?' if near else ""
    names = ", ".join(descriptor.fields_by_name)
    return f"{owner} has no field {quoted(name)}.{hint} It has: {names}."
