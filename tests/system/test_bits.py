"""The weights depend on the job, and on nothing else."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from gradloom.service.client import Client
from gradloom.service.jobs.states import State
from tests.system.digits import digits
from tests.system.service_process import Service

pytestmark = pytest.mark.process

Undisturbed = Callable[[int], str]

EPOCHS = 4

WORKERS = {"local": (2, 3, 5, 8), "ray": (1, 2, 3)}


def test_any_number_of_workers_gives_the_same_weights(
    shared: Service, client: Client, undisturbed: Undisturbed
) -> None:
    jobs = [client.submit(digits(EPOCHS), workers=workers) for workers in WORKERS[shared.backend]]
    hashes = {client.wait(job).receipt.weights_sha256 for job in jobs}
    assert hashes == {undisturbed(EPOCHS)}


def test_another_seed_gives_other_weights(client: Client, undisturbed: Undisturbed) -> None:
    job = client.wait(client.submit({**digits(EPOCHS), "seed": 8}, workers=1))
    assert job.receipt.weights_sha256 != undisturbed(EPOCHS)


def test_the_hash_is_that_of_the_model_file(client: Client) -> None:
    job = client.wait(client.submit(digits(epochs=1), workers=2))
    arrays = load_file(Path(job.receipt.model_path))
    assert {array.dtype.str for array in arrays.values()} == {"<f4"}
    content = b"".join(arrays[name].tobytes() for name in sorted(arrays))
    assert hashlib.sha256(content).hexdigest() == job.receipt.weights_sha256


def test_digits_are_learnt(client: Client) -> None:
    job = client.wait(client.submit(digits(epochs=30), workers=2))
    assert job.state is State.SUCCEEDED
    assert job.metrics["validation/accuracy"] >= 0.97
