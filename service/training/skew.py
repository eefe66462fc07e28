"""Whether a worker's versions are the service's, in what matters: versions in, a sentence out."""

from collections.abc import Mapping

from gradloom.service.wording import versions_in_words

# Releases of Python differ in what we use of it from one minor version to the next.
_PARTS = {"python": 2}
# What decides the bits, and whether a worker understands what it is told. Others, Ray's and those
# of compilers, are looked at by Ray itself and by the self-test.
_MATTERS = ("gradloom", "protocol", "bits", "python", "numpy")


def skew(worker: str, here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Why a worker cannot be used, which is named; empty where it can."""
    other = [name for name in _MATTERS if _told(name, here) != _told(name, there)]
    if not other:
        return ""
    return (
        f"{worker} has {versions_in_words(other, there)}, and the service "
        f"{versions_in_words(other, here)}: install the same release of Gradloom with the same "
        "packages on both."
    )


def _told(name: str, versions: Mapping[str, str]) -> str:
    """A version, as far as it matters."""
    return ".".join(versions.get(name, "none").split(".")[: _PARTS.get(name)])
