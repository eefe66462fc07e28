"""Who takes part in the comparison, and in which environment each computes."""

import os
import sys
from collections.abc import Mapping

from benchmarks.contestant import ROOT, Program
from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment

OURS, NATIVE, EAGER, COMPILE = "ours", "native", "torch eager", "torch compile"
DDP = "torch ddp"

_TORCH = ROOT / ".venv-torch/bin/python"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def find_torch(variables: Mapping[str, str]) -> str | None:
    """The interpreter that has PyTorch; None where there is none, or TORCH_PYTHON is empty."""
    named = variables.get("TORCH_PYTHON")
    if named is not None:
        return named or None
    return str(_TORCH) if _TORCH.exists() else None


def gradloom(*, native: bool) -> tuple[Program, ...]:
    """Our engine in the pinned profile, and where asked for in that of this CPU."""
    command = (sys.executable, "-m", "benchmarks.ours")
    profiles = {OURS: PROFILE_DEFAULT, **({NATIVE: "native"} if native else {})}
    return tuple(
        Program(name, command, environment(profile, os.environ))
        for name, profile in profiles.items()
    )


def pytorch(interpreter: str | None, *, compiled: bool) -> tuple[Program, ...]:
    """PyTorch eager, and where asked for compiled; nobody without an interpreter that has it."""
    if interpreter is None:
        return ()
    modes = {EAGER: "eager", **({COMPILE: "compile"} if compiled else {})}
    return tuple(
        Program(
            name, (interpreter, "-m", "benchmarks.pytorch", mode), {**os.environ, **_ONE_THREAD}
        )
        for name, mode in modes.items()
    )


def ddp(interpreter: str | None) -> Program | None:
    """PyTorch DDP over loopback; None without an interpreter that has it."""
    if interpreter is None:
        return None
    command = (interpreter, "-m", "benchmarks.torch_ddp")
    return Program(DDP, command, {**os.environ, **_ONE_THREAD})
