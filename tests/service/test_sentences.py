"""What a user wrote is shown back so that it can do no harm."""

import pytest

from gradloom.service.sentences import ECHO_LIMIT, any_of, nearest, quoted, shown


def test_short_plain_text_is_shown_as_it_is() -> None:
    assert quoted("größer") == '"größer"'


@pytest.mark.parametrize("letter", ["\n", "\x1b", "\u202e", "\u200b", "\x00"])
def test_b110_what_cannot_be_seen_is_escaped(letter: str) -> None:
    assert shown(f"a{letter}b").isprintable()


def test_b110_long_text_is_cut() -> None:
    assert len(shown("x" * 1000)) == ECHO_LIMIT


def test_a_choice_reads_as_one() -> None:
    assert any_of(["none", "standard", "unit"]) == "none, standard or unit"
    assert any_of(["none"]) == "none"


def test_a_near_miss_is_found_and_a_far_one_is_not() -> None:
    assert nearest("Untis", ["units", "bias"]) == "units"
    assert nearest("x" * 10**6, ["units", "bias"]) is None
