import pickle
import subprocess
import sys

import pytest

from gradloom.worker.engine.profile import (
    PROFILE_DEFAULT,
    PROFILES,
    UnknownProfile,
    environment,
)

HOSTILE = {
    "OPENBLAS_CORETYPE": "SkylakeX",
    "OPENBLAS_NUM_THREADS": "2",
    "GOTO_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "2",
    "NPY_ENABLE_CPU_FEATURES": "X86_V4",
    "NUMBA_CPU_FEATURES": "+avx512f",
    "PYTHONHASHSEED": "1",
}


def test_the_default_profile_exists() -> None:
    assert PROFILE_DEFAULT in PROFILES


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_replaces_all_that_the_user_set(profile: str) -> None:
    assert environment(profile, HOSTILE) == environment(profile, {}) == PROFILES[profile]


def test_a_profile_keeps_what_does_not_steer_arithmetic() -> None:
    kept = {"PATH": "/bin", "HOME": "/root", "RAY_ADDRESS": "auto"}
    assert environment(PROFILE_DEFAULT, kept).items() >= kept.items()


def test_the_environment_given_is_left_alone() -> None:
    given = dict(HOSTILE)
    environment(PROFILE_DEFAULT, given)
    assert given == HOSTILE


def test_an_unknown_profile_is_refused_with_those_known() -> None:
    with pytest.raises(UnknownProfile) as caught:
        environment("x86-64-v9", {})
    sentence = 'There is no arithmetic profile "x86-64-v9": use x86-64-v3 or native.'
    assert str(caught.value) == sentence
    assert str(pickle.loads(pickle.dumps(caught.value))) == sentence  # noqa: S301


@pytest.mark.process
def test_what_a_client_needs_of_the_engine_loads_without_numpy() -> None:
    modules = ", ".join(
        f"gradloom.worker.engine.{name}"
        for name in ("profile", "spec", "check", "metrics", "schedules")
    )
    code = f"import sys, {modules}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
