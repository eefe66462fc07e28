"""The text of a job file as YAML nodes, once all that is dangerous in it has been refused.

JSON is YAML in flow style, so one reader serves both. Depth, anchors and tags are looked at on
the stream of events, before anything is built: the C loader dies of deep nesting.
"""

import re
from collections.abc import Iterator

import yaml

from gradloom.service.errors import InvalidSpec, SpecFault

SIZE_LIMIT = 2**20
DEPTH_LIMIT = 64

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff]")
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_OPENINGS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSINGS = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
_KINDS = {yaml.ScalarNode: "a single word", yaml.SequenceNode: "a list"}
_START = 'a job is a mapping: start with "name:".'


def read_nodes(data: bytes) -> yaml.MappingNode:
    """The mapping a job file holds; raises InvalidSpec with what keeps it from being read."""
    text = _decoded(data)
    try:
        _refuse(_dangers(text))
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise InvalidSpec([_syntax_fault(error, text)]) from None
    except yaml.YAMLError as error:
        raise InvalidSpec([SpecFault("$", f"The file is not YAML: {error}.")]) from None
    if root is None:
        raise InvalidSpec([SpecFault("$", f"The file is empty, {_START}")])
    if not isinstance(root, yaml.MappingNode):
        raise InvalidSpec([SpecFault("$", f"The file holds {_KINDS[type(root)]}, {_START}", 1, 1)])
    return root


def _decoded(data: bytes) -> str:
    _refuse(_byte_faults(data))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidSpec([_encoding_fault(error, data)]) from None
    _refuse(_control_faults(text))
    return text


def _refuse(faults: Iterator[SpecFault]) -> None:
    if found := tuple(faults):
        raise InvalidSpec(found)


def _byte_faults(data: bytes) -> Iterator[SpecFault]:
    if len(data) > SIZE_LIMIT:
        size = f"{len(data) / SIZE_LIMIT:.1f} MiB"
        yield SpecFault(
            "$", f"The job file has {size}, the limit is 1 MiB: data belongs into data.path."
        )
    elif data.startswith(_BYTE_ORDER_MARKS):
        yield SpecFault(
            "$", "The file starts with a byte order mark: save it as UTF-8 without one.", 1, 1
        )


def _encoding_fault(error: UnicodeDecodeError, data: bytes) -> SpecFault:
    line = data.count(b"\n", 0, error.start) + 1
    column = error.start - data.rfind(b"\n", 0, error.start)
    return SpecFault(
        "$",
        f"Byte {data[error.start]:#04x} at line {line} is not UTF-8: save the file as UTF-8.",
        line,
        column,
    )


def _control_faults(text: str) -> Iterator[SpecFault]:
    if found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        name = f"U+{ord(found.group()):04X}"
        yield SpecFault(
            "$", f"Line {line} holds the control character {name}: remove it.", line, column
        )


def _dangers(text: str) -> Iterator[SpecFault]:
    """Faults of the stream of events; ends at the first level that is too deep."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, _OPENINGS) - isinstance(event, _CLOSINGS)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if depth > DEPTH_LIMIT:
            yield _at(event, f"The file nests deeper than {DEPTH_LIMIT} levels.")
            return
        if documents > 1:
            yield _at(event, "The file holds two documents: keep one.")
            return
        yield from _forbidden(event)


def _forbidden(event: yaml.Event) -> Iterator[SpecFault]:
    if getattr(event, "anchor", None) is not None:
        sentence = "Anchors and aliases are not accepted in job files: write the value out."
        yield _at(event, sentence)
    if getattr(event, "tag", None) is not None:
        yield _at(event, "Tags (!) are not accepted in job files: write the value alone.")


def _at(event: yaml.Event, description: str) -> SpecFault:
    mark = event.start_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return SpecFault("$", description, line, column)


def _syntax_fault(error: yaml.MarkedYAMLError, text: str) -> SpecFault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if re.match(r" *\t", "".join(text.splitlines()[line - 1 : line])):
        return SpecFault("$", f"Line {line} starts with a tab: YAML needs spaces.", line, column)
    problem = error.problem or error.context or "it cannot be read"
    return SpecFault("$", f"Line {line} is not YAML: {problem}.", line, column)
