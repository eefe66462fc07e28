"""The suite computes as workers do: the profile is set before anything loads NumPy."""

import os

import pytest

from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

os.environ.update(environment(PROFILE_DEFAULT, os.environ))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write golden files anew; commit only a difference you can explain",
    )
