"""How kernels are compiled: strictly but for fused multiply-adds, and cached on disk.

No reassociation, no reciprocals, no threads: a kernel's bits depend on its inputs and the profile.
Numba's cache does not see changes in other files, so its folder is named by all kernels' source.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

import numba

K = TypeVar("K", bound=Callable[..., object])

_SOURCES = Path(__file__).parent


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where compiled kernels are kept: XDG_CACHE_HOME, else ~/.cache, else a temporary folder."""
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    return _writable(environment) / "gradloom" / f"kernels-{digest.hexdigest()[:16]}"


def _writable(environment: Mapping[str, str]) -> Path:
    home = environment.get("HOME")
    wanted = environment.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    if wanted and _may_write(Path(wanted)):
        return Path(wanted)
    return Path(tempfile.gettempdir()) / f"gradloom-{os.getuid()}"


def _may_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


# Numba makes its settings at run time, where mypy does not see them.
numba.config.CACHE_DIR = str(cache_folder(os.environ))  # type: ignore[attr-defined]

_compiled = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


def kernel(function: K) -> K:
    """The function as machine code, compiled when it is first called with arrays of a type."""
    return cast(K, _compiled(function))
