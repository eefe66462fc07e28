"""What every file format offers: named arrays, read one by one."""

from typing import Any, Protocol

from numpy.typing import NDArray

# Any: the dtype is the file's own.
Array = NDArray[Any]


class Container(Protocol):
    """Named arrays with rows along their first axis."""

    @property
    def noun(self) -> str:
        """What its users call one of them: array or column."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in the file's order."""

    def read(self, name: str) -> Array:
        """Return an array of booleans, integers or floats in native byte order.

        Raises FileError where the bytes are broken, ArrayError where they hold no numbers.
        """
