"""Names, labels and request ids: which may be used."""

import re
from collections.abc import Iterable, Iterator

from gradloom.service.errors import SpecFault
from gradloom.service.jobs import limits
from gradloom.service.sentences import quoted, shown

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_NAME_RULE = (
    'may hold a-z, 0-9 and, inside, "-", '
    f"at most {limits.NAME_LENGTH} characters in all: for example digits."
)


def name_faults(name: str) -> Iterator[SpecFault]:
    """What is wrong with a spec's name."""
    if not name:
        yield SpecFault("name", f"name is missing: it {_NAME_RULE}")
    elif len(name) > limits.NAME_LENGTH or not _NAME.fullmatch(name):
        yield SpecFault("name", f"name {quoted(name)} {_NAME_RULE}")


def label_faults(labels: Iterable[tuple[str, str]]) -> tuple[SpecFault, ...]:
    """What is wrong with a job's labels."""
    pairs = tuple(labels)
    faults = [fault for key, value in pairs for fault in _label_faults(key, value)]
    if len(pairs) > limits.LABELS:
        sentence = f"{len(pairs)} labels given, {limits.LABELS} allowed: drop some."
        faults.insert(0, SpecFault("labels", sentence))
    return tuple(faults)


def request_id_faults(request_id: str) -> tuple[SpecFault, ...]:
    """What is wrong with a request id; an empty one is none at all."""
    if len(request_id) > limits.REQUEST_ID_LENGTH:
        sentence = f"request_id has {len(request_id)} characters: use a UUID."
        return (SpecFault("request_id", sentence),)
    if not (request_id.isascii() and request_id.isprintable()):
        sentence = f"request_id {quoted(request_id)} is not plain ASCII: use a UUID."
        return (SpecFault("request_id", sentence),)
    return ()


def _label_faults(key: str, value: str) -> Iterator[SpecFault]:
    field = f"labels[{quoted(key)}]"
    if not 1 <= len(key) <= limits.LABEL_KEY_LENGTH:
        sentence = f"The key has {len(key)} characters: use 1 to {limits.LABEL_KEY_LENGTH}."
        yield SpecFault(field, sentence)
    if len(value.encode()) > limits.LABEL_VALUE_BYTES:
        sentence = f"The value has {len(value.encode())} bytes, {limits.LABEL_VALUE_BYTES} allowed."
        yield SpecFault(field, sentence)
    for text in (key, value):
        if not text.isprintable():
            yield SpecFault(field, f'"{shown(text)}" holds characters that do not print.')
