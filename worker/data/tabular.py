"""Comma-separated text with a header, read into columns of float64.

A number is what Python's float() reads, but for "_" and digits other than 0 to 9; there is no
other parser, so a text gives one value. Rows are counted from 0, lines from 1.
"""

import csv
import io
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NoReturn

import numpy as np

from gradloom.worker.data.container import Array
from gradloom.worker.data.errors import ArrayError, FileError
from gradloom.worker.data.limits import LIMIT_BYTES
from gradloom.worker.data.wording import counted, quoted, size

BLOCK_ROWS = 4_096
NUMBER_BYTES = 8


class Column:
    """Numbers as they are read; after the first cell that is none, only that cell."""

    def __init__(self) -> None:
        self.numbers = array("d")
        self.fault = ""

    def extend(self, cells: Sequence[str], number: Callable[[str], float], first_row: int) -> None:
        """Append a block of cells, the first of them in first_row."""
        if self.fault:
            return
        try:
            self.numbers.extend(map(number, cells))
        except ValueError:
            self.numbers, count = array("d"), len(self.numbers)
            self.fault = _text_fault(cells[count - first_row], count)


class Table:
    """The columns of a .csv file, in the order of its header."""

    noun = "column"

    def __init__(self, data: bytes) -> None:
        """Read everything; raises FileError."""
        text = data.rstrip(b"\r\n")
        rows = _rows(text)
        header = next(rows, None)
        self._columns = {name: Column() for name in _names(header)}
        self._fill(rows, _number_parser(text))

    @property
    def names(self) -> tuple[str, ...]:
        """The header."""
        return tuple(self._columns)

    def read(self, name: str) -> Array:
        """One column as float64; raises ArrayError."""
        column = self._columns[name]
        if column.fault:
            raise ArrayError(column.fault)
        return np.frombuffer(column.numbers, np.float64)

    def _fill(self, rows: Iterator[list[str]], number: Callable[[str], float]) -> None:
        columns = list(self._columns.values())
        first_row = 0
        while block := list(islice(rows, BLOCK_ROWS)):
            for column, cells in zip(columns, zip(*block, strict=True), strict=True):
                column.extend(cells, number, first_row)
            first_row += len(block)
            _check_size(first_row * len(columns) * NUMBER_BYTES)
        if not first_row:
            raise FileError("The file holds a header and no rows.")


def _rows(data: bytes) -> Iterator[list[str]]:
    """The rows of the text, the header first, all of one length."""
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    reader = csv.reader(lines, strict=True)
    begin, width = 1, 0
    try:
        for row in reader:
            width = width or len(row)
            if len(row) != width:
                raise FileError(_ragged(begin, row, width))
            yield row
            begin = reader.line_num + 1
    except csv.Error as error:
        _refuse(error, begin)
    except UnicodeDecodeError:
        raise FileError(f"Near line {begin:,} the file is not UTF-8: save it as UTF-8.") from None


def _refuse(error: csv.Error, line: int) -> NoReturn:
    if "unexpected end" in str(error):
        raise FileError(f"A quotation mark in line {line:,} is not closed.") from None
    if "field larger" in str(error):
        raise FileError(f"Line {line:,} has an endless value: close its quotation mark.") from None
    raise FileError(f"Line {line:,} is not CSV: {error}.") from None


def _ragged(line: int, row: list[str], width: int) -> str:
    return f"Line {line:,} has {counted(len(row), 'value')}, the header {counted(width, 'column')}."


def _names(header: list[str] | None) -> list[str]:
    if not header:
        raise FileError("The file is empty: a header and rows belong in it.")
    names = [name.strip() for name in header]
    if all(map(_is_number, names)):
        raise FileError("Line 1 holds numbers: a header with the columns' names belongs there.")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise FileError(f"The header holds {quoted(twice[0])} twice.")
    return names


def _number_parser(text: bytes) -> Callable[[str], float]:
    """float() itself wherever the rows hold nothing that it alone would take for a number."""
    is_plain = text.isascii() and text.find(b"_", text.find(b"\n")) < 0
    return float if is_plain else _strict_number


def _strict_number(cell: str) -> float:
    if "_" in cell or not cell.isascii():
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _strict_number(cell)
    except ValueError:
        return False
    return True


def _text_fault(cell: str, row: int) -> str:
    what = f"holds {quoted(cell)}" if cell.strip() else "is empty"
    return f"{what} in row {row:,}: a number belongs there."


def _check_size(table_bytes: int) -> None:
    if table_bytes > LIMIT_BYTES:
        raise FileError(f"The numbers take more than {size(LIMIT_BYTES)}, the limit.")
