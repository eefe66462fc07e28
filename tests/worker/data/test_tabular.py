"""B057, B061, D19 for .csv: one parser, and every broken line named."""

import pytest

from gradloom.worker.data.errors import ArrayError, FileError
from gradloom.worker.data.tabular import BLOCK_ROWS, Table


def test_columns_are_read_by_name_in_the_order_of_the_header() -> None:
    table = Table(b"b,a\n1,2.5\n-3,4e2\n")
    assert table.names == ("b", "a")
    assert table.read("a").tolist() == [2.5, 400.0]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_read(end: str) -> None:
    assert Table(end.join(["a", "1", "2", ""]).encode()).read("a").tolist() == [1, 2]


def test_quotes_spaces_and_a_byte_order_mark_are_read() -> None:
    table = Table('\ufeff"a, b", c\n"1", 2\n'.encode())
    assert table.names == ("a, b", "c")
    assert table.read("c").tolist() == [2]


def test_d19_a_number_is_what_float_reads() -> None:
    cells = ["0.1", "1.00000017881393432617187499", "5e-324", "-0", "123456789012345678"]
    table = Table("\n".join(["a", *cells]).encode())
    assert table.read("a").tolist() == [float(cell) for cell in cells]


def test_many_blocks_are_joined() -> None:
    rows = 2 * BLOCK_ROWS + 1
    table = Table("\n".join(["a", *map(str, range(rows))]).encode())
    assert table.read("a").tolist() == list(range(rows))


@pytest.mark.parametrize("row", [0, BLOCK_ROWS + 5])
def test_b061_a_text_is_named_with_its_row(row: int) -> None:
    lines = ["age,b"] + ["1,2"] * row + ["n/a,2", "1,2"]
    table = Table("\n".join(lines).encode())
    assert table.read("b").tolist() == [2] * (row + 2)
    with pytest.raises(ArrayError, match=f'^holds "n/a" in row {row:,}: a number belongs there'):
        table.read("age")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("", "is empty in row 0"),
        ("1\x00", r"1\\x00"),
        (" ", "is empty"),
        ("1_000", "1_000"),
        ("१२", "holds"),
        ("1,5", "1,5"),
    ],
)
def test_b061_what_only_some_parsers_read_is_text(cell: str, text: str) -> None:
    with pytest.raises(ArrayError, match=text):
        Table(f'a,b\n"{cell}",1\n'.encode()).read("a")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "The file is empty"),
        (b"\n\n", "The file is empty"),
        (b"a,b\n", "a header and no rows"),
        (b"1,2\n3,4\n", "Line 1 holds numbers"),
        (b"a,b\n1,2\n3\n", "Line 3 has 1 value, the header 2 columns"),
        (b"a,b\n1,2,3\n", "Line 2 has 3 values, the header 2 columns"),
        (b"a\n1\n\n2\n", "Line 3 has 0 values, the header 1 column"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "A quotation mark in line 3 is not closed"),
        (b'a\n"' + b"1\n" * 100_000, "Line 2 has an endless value"),
        (b'a,b\n"1"2,3\n', "Line 2 is not CSV"),
        (b"a, a\n1,2\n", 'The header holds "a" twice'),
        (b"a\n\xff\xfe\n", "not UTF-8"),
    ],
)
def test_b057_a_broken_file_is_refused(data: bytes, text: str) -> None:
    with pytest.raises((FileError, ArrayError), match=text):
        Table(data).read("a")
