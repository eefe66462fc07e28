"""Where compiled kernels are kept on disk. Needs neither NumPy nor Numba.

Numba's cache does not see changes in other files, so its folder is named by all kernels' source.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_SOURCES = Path(__file__).parent

# Kernels that were compiled when Gradloom was installed, for all its users: a cache like theirs.
INSTALLED = _SOURCES / "compiled"


def cache_folder(environment: Mapping[str, str], installed: Path = INSTALLED) -> Path:
    """Where compiled kernels are kept: XDG_CACHE_HOME, else ~/.cache, else a temporary folder.

    A folder that is not there yet begins as a copy of what a warm-up left with the installation.
    Numba uses no folder that it may not write to. So where a warm-up has filled one that is
    read-only now, as in an image, the temporary folder begins as a copy of it.
    """
    below = Path("gradloom") / f"kernels-{_sources_sha256()[:16]}"
    home = environment.get("HOME")
    wanted = environment.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    filled = [installed / below]
    if wanted:
        folder = Path(wanted) / below
        if _may_write(folder.parent) and _may_write(_begun(folder, filled)):
            return folder
        filled.insert(0, folder)
    return _begun(_temporary() / below, filled)


def _begun(folder: Path, filled: Iterable[Path]) -> Path:
    """The folder; one that is not there becomes a copy of the first of the others that is."""
    if not folder.exists():
        for other in filter(Path.is_dir, filled):
            _copy(other, folder)
            break
    return folder


def _sources_sha256() -> str:
    digest = hashlib.sha256()
    for source in sorted(_SOURCES.rglob("*.py")):
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
