"""The files of memory that workers of one run share, on this host."""

from contextlib import suppress
from glob import escape
from pathlib import Path


def remove(prefix: str) -> None:
    """Removes the files whose names begin so: their memory goes with the last who has it mapped."""
    at = Path(prefix)
    for file in at.parent.glob(f"{escape(at.name)}-*"):
        with suppress(FileNotFoundError):
            file.unlink()
