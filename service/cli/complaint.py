"""Errors for people and programs: what, where, and what to do about it."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradloom.service.errors import GradloomError, InvalidRequest, InvalidSpec, SpecFault
from gradloom.service.wording import plural

MOST_EXCERPTS = 5
WIDEST = 120
# What a caret line underlines: a word of YAML.
_WORD = re.compile(r"[^\s,{}\[\]:#]+")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\uffff]")


def sentence_of(error: GradloomError) -> str:
    """An error as text: its sentence, or a table of faults, and the call's id last."""
    match error:
        case InvalidSpec():
            text = _spec_text(error)
        case InvalidRequest():
            text = "\n".join(f"Error: {line}" for line in fault_lines(error.faults, ""))
        case _:
            text = f"Error: {error.message}"
    return f"{text}\nrequest {error.request_id}" if error.request_id else text


def document_of(error: GradloomError) -> str:
    """An error as one line of JSON."""
    from gradloom.service.documents import error_document

    return json.dumps(error_document(error), ensure_ascii=False)


def _spec_text(error: InvalidSpec) -> str:
    file = error.metadata.get("file", "")
    return "\n".join(
        [
            *fault_lines(error.faults, file),
            *_excerpts(error.faults, file),
            f"{plural(len(error.faults), 'fault')}, nothing was submitted.",
        ]
    )


def fault_lines(faults: Sequence[SpecFault], file: str) -> list[str]:
    """One line a fault: place in the file, field, sentence, in columns."""
    places = [_place(fault, file) for fault in faults]
    wide = max(map(len, places), default=0)
    fields = [fault.field for fault in faults]
    broad = max(map(len, fields), default=0)
    return [
        f"{place:<{wide}}  {field:<{broad}}  {fault.description}".lstrip()
        for place, field, fault in zip(places, fields, faults, strict=True)
    ]


def _place(fault: SpecFault, file: str) -> str:
    if not file:
        return ""
    return f"{file}:{fault.line}:{fault.column}" if fault.line else file


def _excerpts(faults: Iterable[SpecFault], file: str) -> list[str]:
    lines = _lines_of(file)
    numbers = sorted({fault.line for fault in faults if 0 < fault.line <= len(lines)})
    excerpts: list[str] = []
    for number in numbers[:MOST_EXCERPTS]:
        columns = {fault.column for fault in faults if fault.line == number and fault.column}
        excerpts += _excerpt(number, lines[number - 1], columns)
    return excerpts


def _excerpt(number: int, line: str, columns: set[int]) -> list[str]:
    """A line, or the part of a long one where its first fault is, and carets below."""
    start = max(0, min(columns, default=1) - WIDEST // 2) if len(line) > WIDEST else 0
    shown = line[start : start + WIDEST]
    inside = {column - start for column in columns if start < column <= start + len(shown)}
    return [f"{number:>5} | {shown}", f"      | {_carets(shown, inside)}"]


def _carets(line: str, columns: Iterable[int]) -> str:
    marks = [" "] * len(line)
    for column in columns:
        word = _WORD.match(line, column - 1)
        end = word.end() if word else column
        marks[column - 1 : end] = "^" * (end - column + 1)
    return "".join(marks).rstrip()


def _lines_of(file: str) -> list[str]:
    """The file's lines with control characters made visible, so that none reaches a terminal."""
    if not file:
        return []
    try:
        text = Path(file).read_bytes().decode(errors="replace")
    except OSError:
        return []
    return [_UNPRINTABLE.sub("\ufffd", line) for line in text.split("\n")]
