"""Which rows to learn from, as frozen data; field names are those of specs.proto."""

from dataclasses import dataclass
from enum import StrEnum


class Normalize(StrEnum):
    """How inputs are scaled, per column, fitted on the training rows."""

    NONE = "none"
    STANDARD = "standard"
    UNIT = "unit"


@dataclass(frozen=True, slots=True)
class DataSource:
    """A container file of several arrays or columns (path), or one file an array (files).

    Paths are as the user wrote them; whoever opens them decides where they lead.
    """

    path: str = ""
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows are read block by block while training; at most so many are shuffled together.

    0 stands for as many as take 64 MB.
    """

    window_rows: int = 0


@dataclass(frozen=True, slots=True)
class DataSpec:
    """A source, which arrays of it are inputs and target, and how rows are split and scaled."""

    target: str
    path: str = ""
    files: tuple[tuple[str, str], ...] = ()
    inputs: tuple[str, ...] = ()
    validation_fraction: float = 0.0
    normalize: Normalize = Normalize.NONE
    test: DataSource | None = None
    stream: Stream | None = None

    @property
    def source(self) -> DataSource:
        """Where the training and validation rows stand."""
        return DataSource(self.path, self.files)

    @property
    def paths(self) -> tuple[str, ...]:
        """All files, as the user wrote them."""
        sources = (self.source, *((self.test,) if self.test else ()))
        paths = (path for each in sources for path in (each.path, *(p for _, p in each.files)))
        return tuple(filter(None, paths))
