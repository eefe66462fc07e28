"""Listeners for members that are threads."""

from collections.abc import Iterator

import pytest

from gradloom.worker.exchange.listener import Listener
from tests.worker.exchange.formations import ENTERED


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    made = [Listener("127.0.0.1") for _ in range(8)]
    yield made
    for listener in made:
        listener.close()


@pytest.fixture(autouse=True)
def _leave() -> Iterator[None]:
    yield
    while ENTERED:
        ENTERED.pop().close()
