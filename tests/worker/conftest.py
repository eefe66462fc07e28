"""What every test of a worker leaves behind: nothing."""

from collections.abc import Iterator

import pytest

from tests.worker.crew import disband


@pytest.fixture(autouse=True)
def _disbanded() -> Iterator[None]:
    yield
    disband()
