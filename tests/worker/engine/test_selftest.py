import json
import os
import subprocess
import sys

import pytest

from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment
from gradloom.worker.engine.selftest import SelfTest, self_test

PROGRAM = """
import dataclasses, json
from gradloom.worker.engine.selftest import self_test
print(json.dumps(dataclasses.asdict(self_test())))
"""
HOSTILE = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "OPENBLAS_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
    "PYTHONHASHSEED": "1",
}


def elsewhere(**changes: str) -> SelfTest:
    """The self-test of a process started with a hostile environment under the profile."""
    profiled = environment(PROFILE_DEFAULT, {**os.environ, **HOSTILE})
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    answer = subprocess.run(
        command, env={**profiled, **changes}, check=True, capture_output=True, text=True
    )
    assert answer.stderr == ""
    return SelfTest(**json.loads(answer.stdout))


@pytest.fixture(scope="module")
def profiled() -> SelfTest:
    return elsewhere()


def test_the_same_process_comes_to_the_same_hash() -> None:
    assert self_test() == self_test()


@pytest.mark.process
def test_the_profile_holds_against_the_users_environment(profiled: SelfTest) -> None:
    assert (profiled.openblas_core, profiled.threads) == ("Haswell", 1)


@pytest.mark.process
def test_every_process_of_a_profile_comes_to_the_same_hash(profiled: SelfTest) -> None:
    assert elsewhere(PYTHONHASHSEED="2") == profiled


@pytest.mark.process
def test_another_kernel_comes_to_another_hash(profiled: SelfTest) -> None:
    other = elsewhere(OPENBLAS_CORETYPE="Nehalem")
    assert other.openblas_core == "Nehalem"
    assert other.sha256 != profiled.sha256


def test_numbers_below_the_smallest_normal_one_survive() -> None:
    assert self_test().denormals


@pytest.mark.process
def test_kernels_without_fused_multiply_adds_come_to_another_hash(profiled: SelfTest) -> None:
    other = elsewhere(NUMBA_CPU_FEATURES="-fma")
    assert other.openblas_core == profiled.openblas_core
    assert other.sha256 != profiled.sha256
