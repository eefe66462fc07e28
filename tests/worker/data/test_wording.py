"""How sizes and strangers' names read in sentences."""

import pytest

from gradloom.worker.data.wording import counted, listed, nearest, quoted, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (972_000, "972 kB"),
        (512_000_000, "512 MB"),
        (4_000_000_000_000, "4.0 TB"),
        (10**24, "1,000,000,000 PB"),
    ],
)
def test_a_size_is_given_in_two_or_three_digits(count: int, text: str) -> None:
    assert size(count) == text


def test_a_long_name_is_cut() -> None:
    assert len(quoted("x" * 5_000)) < 100


def test_a_name_cannot_forge_a_line() -> None:
    assert quoted("a\nERROR \u202e") == '"a\\nERROR \\u202e"'


def test_a_long_list_says_how_long_it_is() -> None:
    assert listed([str(i) for i in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (12 in all)"


def test_one_is_not_plural() -> None:
    assert (counted(1, "row"), counted(1_797, "row")) == ("1 row", "1,797 rows")


def test_nothing_alike_has_no_nearest() -> None:
    assert nearest("labels", ["images"]) is None
