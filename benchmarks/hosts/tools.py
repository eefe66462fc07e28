"""The system's programs that make hosts: run, and named where they are missing or refuse."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

SECONDS = 90.0

# Debian's package of each program.
PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}


class CannotUse(Exception):
    """A program of the system is missing, or refuses what it was asked to do."""

    def __init__(self, tool: str, why: str) -> None:
        super().__init__(f"{tool}: {why}")
        self.tool = tool
        self.why = why


def require(*tools: str) -> None:
    """Raises CannotUse for the first that is not installed, and for who is not root."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise CannotUse(tool, f"is not installed (Debian: {PACKAGES[tool]})")
        if os.geteuid() != 0:
            raise CannotUse(tool, "needs root to make hosts")


def run(
    tool: str,
    command: Sequence[str],
    text: str = "",
    env: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> str:
    """What a command prints when it is given a text; CannotUse names the tool where it fails."""
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            env=env,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotUse(tool, f"not done within {seconds:.0f} s: {' '.join(command)}") from None
    except FileNotFoundError:
        raise CannotUse(tool, f"is not installed (Debian: {PACKAGES[tool]})") from None
    if done.returncode != 0:
        raise CannotUse(tool, f"{' '.join(command)}: {_last_line(done.stderr)}")
    return done.stdout


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
