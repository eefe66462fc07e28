"""Ends what a service that was killed has left behind, before the next one on its folder starts.

Processes that a service starts carry its data folder in their environment, and those that they
start do, too: a Ray of its own takes longer to notice the service's end than it should, and what
was just starting may not notice at all. Only one service at a time holds a data folder.
"""

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from gradloom.worker.fence import StillAlive, fence

MARK = "GRADLOOM_DATA_DIR_OF_SERVICE"
# What may be ended: nothing that a program around an embedded service has started.
_OURS = (b"gradloom.worker.", b"/ray/", b"ray::")


def mark(variables: MutableMapping[str, str], data_dir: Path) -> None:
    """Has all processes that are started with these variables carry the data folder."""
    variables[MARK] = str(data_dir.resolve())


def sweep(data_dir: Path, root: Path = Path("/proc")) -> tuple[int, ...]:
    """Ends what carries the data folder, and waits for the end of each; who they were."""
    left = tuple(_left_behind(data_dir, root))
    for pid in left:
        try:
            fence((pid,))
        except (StillAlive, PermissionError):
            continue
    return left


def _left_behind(data_dir: Path, root: Path) -> Iterator[int]:
    wanted = f"{MARK}={data_dir.resolve()}".encode()
    for folder in root.iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes()
            except OSError:  # it has ended, or is another user's
                continue
            if wanted in variables and any(word in command for word in _OURS):
                yield int(folder.name)
