"""How kernels are compiled: strictly but for fused multiply-adds, and cached on disk.

No reassociation, no reciprocals, no threads: a kernel's bits depend on its inputs and the profile.
Numba's cache does not see changes in other files, so its folder is named by all kernels' source.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

K = TypeVar("K", bound=Callable[..., object])

_SOURCES = Path(__file__).parent


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where compiled kernels are kept: XDG_CACHE_HOME, else ~/.cache, else a temporary folder.

    Numba uses no folder that it may not write to. So where a warm-up has filled one that is
    read-only now, as in an image, the temporary folder begins as a copy of it.
    """
    below = Path("gradloom") / f"kernels-{_sources_sha256()[:16]}"
    home = environment.get("HOME")
    wanted = environment.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    if wanted and _may_write(Path(wanted) / below):
        return Path(wanted) / below
    folder = _temporary() / below
    if wanted and not folder.exists():
        _copy(Path(wanted) / below, folder)
    return folder


def _sources_sha256() -> str:
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _may_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _temporary() -> Path:
    """A folder that is this user's alone: kernels are code, and anyone may write to /tmp."""
    folder = Path(tempfile.gettempdir()) / f"gradloom-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="gradloom-"))


def _copy(filled: Path, folder: Path) -> None:
    """All at once, since other workers may be about to do the same; without one, nothing."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        shutil.copytree(filled, partial, dirs_exist_ok=True)
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)


# Numba makes its settings at run time, where mypy does not see them.
numba.config.CACHE_DIR = str(cache_folder(os.environ))  # type: ignore[attr-defined]

# Any: Numba's stubs leave out the wrappers. Nothing takes kernels as C functions.
_njit: Any = numba.njit
_compiled = _njit(cache=True, error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True)
_compiled_inside = _njit(
    error_model="numpy", fastmath={"contract"}, no_cfunc_wrapper=True, no_cpython_wrapper=True
)

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
