"""What is installed here that decides the bits, or whether two programs understand each other."""

import platform
from functools import cache
from importlib import metadata

from gradloom.worker.engine.profile import BITS_VERSION
from gradloom.worker.messages import PROTOCOL_VERSION

PACKAGES = ("gradloom", "numpy", "numba", "llvmlite", "ray")


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    return tuple((name, _version(name)) for name in PACKAGES)


def versions() -> dict[str, str]:
    """Versions by name; those of packages as they were when this was first asked."""
    return {
        **dict(_installed()),
        "python": platform.python_version(),
        "bits": str(BITS_VERSION),
        "protocol": str(PROTOCOL_VERSION),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
