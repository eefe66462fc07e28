"""Names, sizes and lists from strangers' files, as they stand in sentences."""

import difflib
from collections.abc import Sequence

LONGEST_NAME = 80
LONGEST_LIST = 10
LONGEST_SEARCH = 1_000
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def plain(text: str) -> str:
    """Cut to 80 characters, with everything that does not print (bidi marks too) escaped."""
    shown = "".join(map(_escaped, text[:LONGEST_NAME]))
    return shown + "…" if len(text) > LONGEST_NAME else shown


def quoted(text: str) -> str:
    """Plain text between quotation marks."""
    return f'"{plain(text)}"'


def size(count: int) -> str:
    """Bytes in decimal units: 128 bytes, 1.0 GB, 512 MB."""
    if count < 1_000:
        return "1 byte" if count == 1 else f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, len(UNITS) - 1)
    value = count / 1_000**power
    return f"{value:.1f} {UNITS[power]}" if value < 9.95 else f"{value:,.0f} {UNITS[power]}"


def listed(names: Sequence[str]) -> str:
    """The first ten names, and how many there are if more."""
    shown = ", ".join(plain(name) for name in names[:LONGEST_LIST])
    return f"{shown}, … ({len(names):,} in all)" if len(names) > LONGEST_LIST else shown


def counted(count: int, noun: str) -> str:
    """1 row, 1,797 rows."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The name that looks most like the one asked for."""
    matches = difflib.get_close_matches(name[:LONGEST_NAME], names[:LONGEST_SEARCH], 1)
    return matches[0] if matches else None


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
