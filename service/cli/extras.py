"""What a command needs beyond the base installation."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from gradloom.service.errors import MissingExtra


@contextmanager
def needing(extra: str, purpose: str) -> Iterator[None]:
    """Names the extra where an import inside fails for want of a package that is not ours."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gradloom"):
            raise
        raise MissingExtra(extra, purpose) from None


def require_backend(backend: str | None) -> None:
    """Raises MissingExtra where a backend was asked for by name and is not installed."""
    if backend == "ray" and find_spec("ray") is None:
        raise MissingExtra("ray", "--backend ray")
