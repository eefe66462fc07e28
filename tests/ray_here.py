"""Ray in the process of the tests: one token for all of them, since Ray reads it once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from gradloom.service.fleet.ray_environment import prepare


@cache
def token() -> Path:
    """Where the token is."""
    return Path(mkdtemp(prefix="gradloom-tests-")) / "token"


@contextmanager
def prepared() -> Iterator[None]:
    """The environment that Ray is to find; it must not have been imported before the first time."""
    before = dict(os.environ)
    prepare(os.environ, token())
    yield
    os.environ.clear()
    os.environ.update(before)
