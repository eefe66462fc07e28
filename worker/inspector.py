"""Looks at the node it runs on, in a process that was started as workers are."""

import os
import platform
import time
from pathlib import Path

from gradloom.worker import links
from gradloom.worker.engine.profile import PROFILE_DEFAULT, profile_of
from gradloom.worker.engine.selftest import self_test
from gradloom.worker.inspection import NodeFacts, encode
from gradloom.worker.versions import versions

SHARED_MEMORY = Path("/dev/shm")

# Features of the CPU, by Linux's names, that the arithmetic of a profile is compiled for.
NEEDS = {PROFILE_DEFAULT: frozenset({"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"})}


class Inspector:
    """Answers questions about a node, and about the ways to others; for one check."""

    def __init__(self) -> None:
        self._listener: links.Listener | None = None

    def facts(self) -> bytes:
        """The encoded NodeFacts; takes as long as the kernels of the self-test need to load."""
        return encode(node_facts())

    def clock(self) -> float:
        """Seconds since 1970 by this node's clock."""
        return time.time()

    def listen(self, host: str, key: bytes) -> int:
        """Lets others measure the way to this node, at the port that is returned."""
        self._listener = links.Listener(host, key)
        return self._listener.port

    def measure(self, host: str, port: int, key: bytes) -> bytes:
        """The encoded LinkFacts of the way to another node that listens."""
        return encode(links.measure(host, port, key))


def node_facts() -> NodeFacts:
    """What this process finds; no self-test where it would be killed for an unknown instruction."""
    profile = profile_of(os.environ)
    cpu = cpu_fields(Path("/proc/cpuinfo").read_text())
    lacks = NEEDS.get(profile, frozenset()) - set(cpu.get("flags", "").split())
    tested = None if lacks else self_test()
    room = os.statvfs(SHARED_MEMORY)
    return NodeFacts(
        cpu=cpu.get("model name", platform.machine()),
        cpu_family=" ".join(cpu.get(name, "?") for name in ("vendor_id", "cpu family", "model")),
        cpu_lacks=tuple(sorted(lacks)),
        versions=versions(),
        profile=profile,
        selftest_sha256=tested.sha256 if tested else "",
        openblas_core=(tested.openblas_core or "") if tested else "",
        threads=(tested.threads or 1) if tested else 1,
        denormals=tested.denormals if tested else True,
        shm_bytes=room.f_blocks * room.f_frsize,
        shm_free=room.f_bavail * room.f_frsize,
        authentication=os.environ.get("RAY_AUTH_MODE", "none"),
    )


def cpu_fields(text: str) -> dict[str, str]:
    """The fields of the first CPU in /proc/cpuinfo."""
    first = text.strip().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
