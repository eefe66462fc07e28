"""How kernels are compiled: strictly but for fused multiply-adds, and cached on disk.

No reassociation, no reciprocals, no threads: a kernel's bits depend on its inputs and the profile.
Kernels only read and write what they are given: without Numba's counting of references each is
compiled a tenth sooner.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba

from gradloom.worker.engine.kernel_folder import cache_folder

K = TypeVar("K", bound=Callable[..., object])

# Numba makes its settings at run time, where mypy does not see them.
numba.config.CACHE_DIR = str(cache_folder(os.environ))  # type: ignore[attr-defined]

# Any: Numba's stubs leave out the wrappers. Nothing takes kernels as C functions.
_njit: Any = numba.njit
_SETTINGS: Mapping[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"contract"},
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
_compiled = _njit(cache=True, **_SETTINGS)
_compiled_inside = _njit(no_cpython_wrapper=True, **_SETTINGS)

# Every kernel of this process; Numba's dispatchers have no types.
_KERNELS: list[Any] = []


@dataclass(frozen=True, slots=True)
class Compilations:
    """What became of this process's kernels: forms that were compiled here and found on disk.

    A form is a kernel for arguments of certain types; unused are the kernels without one.
    """

    compiled: int
    found: int
    unused: tuple[str, ...]


def kernel(function: K) -> K:
    """The function as machine code, compiled when it is first called with arrays of a type."""
    dispatcher = _compiled(function)
    _KERNELS.append(dispatcher)
    return cast(K, dispatcher)


def inner(function: K) -> K:
    """A function that kernels alone may call: it is compiled into them, and sooner."""
    return cast(K, _compiled_inside(function))


def compilations() -> Compilations:
    """The kernels of all modules that were imported so far."""
    return Compilations(
        compiled=sum(each.stats.cache_misses.total() for each in _KERNELS),
        found=sum(each.stats.cache_hits.total() for each in _KERNELS),
        unused=tuple(_name(each) for each in _KERNELS if not each.signatures),
    )


def _name(dispatcher: Any) -> str:
    return f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__name__}"
