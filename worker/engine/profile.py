"""Which arithmetic a process computes with: environments to start it with. Needs no NumPy.

NumPy, its OpenBLAS and Numba choose code by the CPU when they are loaded, and other code gives
other bits. A profile fixes the choice for every CPU that can run it.
"""

from collections.abc import Mapping
from types import MappingProxyType

# Raised whenever the same job may come to other bits than with the release before.
BITS_VERSION = 4

PROFILE_DEFAULT = "x86-64-v3"

# Says in a process which profile it was started with.
_NAME = "GRADLOOM_PROFILE"

# One worker is one core, and sums that two threads share have another order.
_ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}

PROFILES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # Any server CPU with AVX2 and FMA. Naming features that a CPU lacks changes nothing.
        "x86-64-v3": MappingProxyType(
            {
                **_ONE_THREAD,
                _NAME: "x86-64-v3",
                "OPENBLAS_CORETYPE": "Haswell",
                "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
                "NUMBA_CPU_NAME": "x86-64-v3",
                "NUMBA_CPU_FEATURES": "",
            }
        ),
        # Whatever this CPU does best; its bits hold within one CPU family.
        "native": MappingProxyType({**_ONE_THREAD, _NAME: "native"}),
    }
)

# Variables by which users steer the numeric libraries: a profile takes none of theirs.
_STEERING = ("OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "BLIS_", "NPY_", "NUMBA_")


class UnknownProfile(ValueError):
    """A profile that this version has not; survives pickling."""

    def __init__(self, profile: str) -> None:
        super().__init__(profile)
        self.profile = profile

    def __str__(self) -> str:
        return f'There is no arithmetic profile "{self.profile}": use {" or ".join(PROFILES)}.'


def environment(profile: str, base_env: Mapping[str, str]) -> dict[str, str]:
    """The environment to start a worker process with; base_env is the starting process's own."""
    if profile not in PROFILES:
        raise UnknownProfile(profile)
    kept = {name: value for name, value in base_env.items() if not name.startswith(_STEERING)}
    return {**kept, **PROFILES[profile]}


def profile_of(env: Mapping[str, str]) -> str:
    """The profile that a process with this environment was started with; "none" without one."""
    return env.get(_NAME, "none")
