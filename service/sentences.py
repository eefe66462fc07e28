"""Pieces of sentences: input shown back to its user, choices, near misses."""

from collections.abc import Iterable
from difflib import get_close_matches

# Input is shown back up to here, so that a message stays a message.
ECHO_LIMIT = 64


def shown(text: str) -> str:
    """Text of a user as it may stand in a message: cut, and with what cannot be seen escaped."""
    cut = text if len(text) <= ECHO_LIMIT else text[: ECHO_LIMIT - 1] + "…"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in cut
    )


def quoted(text: str) -> str:
    """Text of a user in double quotes."""
    return f'"{shown(text)}"'


def any_of(words: Iterable[str]) -> str:
    """A choice: none, standard or unit."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word most like it, if one is like it."""
    return next(iter(get_close_matches(word[:ECHO_LIMIT].lower(), list(words), 1)), None)
