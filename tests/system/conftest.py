"""Services that tests share, since starting Ray takes seconds."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from gradloom.service.client import Client
from tests.system.digits import digits
from tests.system.service_process import Service, service

BACKENDS = ["local", pytest.param("ray", marks=pytest.mark.ray)]

# What a user's shell may say; none of it may reach the arithmetic.
HOSTILE = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "OPENBLAS_NUM_THREADS": "2",
    "PYTHONHASHSEED": "1",
    "OMP_NUM_THREADS": "2",
}


@pytest.fixture(scope="session", params=BACKENDS)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that no test may end, started from a hostile environment; one a backend."""
    with service(tmp_path_factory.mktemp("shared"), request.param, HOSTILE) as up:
        yield up


@pytest.fixture
def client(shared: Service) -> Iterator[Client]:
    with shared.client() as client:
        yield client


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], str]]:
    """The weights of the digits job of so many epochs, of one worker whom nothing happened to."""
    with service(tmp_path_factory.mktemp("undisturbed")) as up, up.client() as client:

        @cache
        def weights(epochs: int) -> str:
            job = client.submit(digits(epochs), workers=1)
            return client.wait(job).receipt.weights_sha256

        yield weights
