"""What would go wrong in a cluster, as sentences: a pure function of what was found of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gradloom.service.fleet.cluster import Cluster, Link, Node
from gradloom.service.wording import versions_in_words


class Code(StrEnum):
    """Kinds of problems."""

    NODE_SILENT = "NODE_SILENT"
    VERSIONS_DIFFER = "VERSIONS_DIFFER"
    CPU_TOO_OLD = "CPU_TOO_OLD"
    BITS_DIFFER = "BITS_DIFFER"
    NO_TOKEN = "NO_TOKEN"
    SHM_TOO_SMALL = "SHM_TOO_SMALL"
    CLOCK_OFF = "CLOCK_OFF"
    LINK_CUT = "LINK_CUT"
    LINK_SLOW = "LINK_SLOW"
    NO_CPUS = "NO_CPUS"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that would go wrong: on which nodes, and a sentence with what helps."""

    code: Code
    nodes: tuple[str, ...]
    message: str


# Room for the state of a model of three million parameters that four workers train with Adam:
# two sides of three vectors, and a register for each worker, four bytes an element.
SHM_NEEDED = 128 << 20
SHM_BYTES_A_PARAMETER = 4 * (2 * 3 + 4)

# Times in histories and logs are read side by side; nothing that is decided depends on them.
CLOCK_SECONDS = 1.0

# A gradient of two megabytes is there and back in a tenth of a second.
SLOW_BYTES_PER_SECOND = 40e6
# What two exchanges wait for in every step, at least.
SLOW_ROUND_TRIP_SECONDS = 0.01

# Of other arithmetic, when neither versions, threads nor denormals say why.
_SAME_CPUS = "use CPUs of one kind, or the profile x86-64-v3"


def problems(cluster: Cluster) -> tuple[Problem, ...]:
    """All of them, the gravest first; none means that jobs would run."""
    return tuple(problem for rule in _RULES for problem in rule(cluster))


def _silent(cluster: Cluster) -> Iterator[Problem]:
    for node in cluster.nodes:
        if node.silence:
            yield Problem(
                Code.NODE_SILENT,
                (node.name,),
                f"{node.name} starts no worker: {node.silence.rstrip('.')}. Install Gradloom there "
                "as it is here, and look at Ray's logs of that node.",
            )


def _speaking(cluster: Cluster) -> Iterator[Node]:
    return (node for node in cluster.nodes if not node.silence)


def _versions(cluster: Cluster) -> Iterator[Problem]:
    here = cluster.versions_here
    for node in _speaking(cluster):
        there = node.facts.versions or {}
        other = [name for name in here if there.get(name, "none") != here[name]]
        if other:
            yield Problem(
                Code.VERSIONS_DIFFER,
                (node.name,),
                f"{node.name} has {versions_in_words(other, there)}, and this machine "
                f"{versions_in_words(other, here)}: install the same "
                "release of Gradloom with the same packages on both.",
            )


def _old_cpus(cluster: Cluster) -> Iterator[Problem]:
    for node in _speaking(cluster):
        if node.facts.cpu_lacks:
            yield Problem(
                Code.CPU_TOO_OLD,
                (node.name,),
                f"The CPU of {node.name} ({node.facts.cpu}) lacks {', '.join(node.facts.cpu_lacks)}"
                f": use a newer one, since the profile {node.facts.profile} cannot run on it.",
            )


def _other_bits(cluster: Cluster) -> Iterator[Problem]:
    tested = [node for node in _speaking(cluster) if node.facts.selftest_sha256]
    counted = Counter(node.facts.selftest_sha256 for node in tested).most_common()
    for node in tested:
        if node.facts.selftest_sha256 != counted[0][0]:
            yield Problem(
                Code.BITS_DIFFER,
                (node.name,),
                f"{node.name} computes other bits (self-test {node.facts.selftest_sha256[:8]}, "
                f"elsewhere {counted[0][0][:8]}), so jobs that began elsewhere refuse its workers: "
                f"{_cure(node, cluster)}.",
            )


def _cure(node: Node, cluster: Cluster) -> str:
    """What helps against other bits, by the first cause that shows."""
    facts, here = node.facts, cluster.versions_here
    if not facts.denormals:
        return "a library there flushes denormal numbers to zero: find what was built with -Ofast"
    if facts.threads != 1:
        return (
            f"its OpenBLAS has {facts.threads} threads: let Gradloom start the workers' processes"
        )
    there = facts.versions or {}
    if any(there.get(name) != here[name] for name in ("numpy", "numba", "llvmlite", "bits")):
        return "install the versions of this machine there"
    return f"its OpenBLAS is {facts.openblas_core or 'not the one of NumPy'}: {_SAME_CPUS}"


def _open_doors(cluster: Cluster) -> Iterator[Problem]:
    open_nodes = tuple(n.name for n in _speaking(cluster) if n.facts.authentication != "token")
    if open_nodes:
        yield Problem(
            Code.NO_TOKEN,
            open_nodes,
            f"Ray asks nobody for a token on {_listed(open_nodes)}, so whoever reaches it runs "
            "programs there: start Ray with RAY_AUTH_MODE=token and a RAY_AUTH_TOKEN_PATH.",
        )


def _small_memory(cluster: Cluster) -> Iterator[Problem]:
    for node in _speaking(cluster):
        facts = node.facts
        if facts.shm_free < SHM_NEEDED:
            fits = facts.shm_free // SHM_BYTES_A_PARAMETER
            yield Problem(
                Code.SHM_TOO_SMALL,
                (node.name,),
                f"/dev/shm of {node.name} has {_megabytes(facts.shm_free)} free of "
                f"{_megabytes(facts.shm_bytes)}, so models of more than {_thousands(fits)} "
                "parameters are summed over sockets there: give it at least "
                f"{_megabytes(SHM_NEEDED)}, in containers by a larger shm size.",
            )


def _clocks(cluster: Cluster) -> Iterator[Problem]:
    for node in _speaking(cluster):
        clock = node.clock
        if abs(clock.ahead_seconds) - clock.uncertainty_seconds > CLOCK_SECONDS:
            side = "ahead of" if clock.ahead_seconds > 0 else "behind"
            yield Problem(
                Code.CLOCK_OFF,
                (node.name,),
                f"The clock of {node.name} is {abs(clock.ahead_seconds):.1f} s {side} this "
                "machine's, so times in logs cannot be compared: run a time service (NTP) on both.",
            )


def _links(cluster: Cluster) -> Iterator[Problem]:
    yield from (problem for link in cluster.links if (problem := _cut(link)))
    yield from (problem for link in cluster.links if (problem := _slow(link)))


def _cut(link: Link) -> Problem | None:
    if not link.facts.failure:
        return None
    return Problem(
        Code.LINK_CUT,
        (link.source, link.target),
        f"{link.source} cannot reach {link.target} ({link.facts.failure}), so their workers cannot "
        "sum gradients: let all ports through between nodes, in both directions.",
    )


def _slow(link: Link) -> Problem | None:
    facts = link.facts
    is_slow = facts.bytes_per_second < SLOW_BYTES_PER_SECOND
    if facts.failure or not (is_slow or facts.round_trip_seconds > SLOW_ROUND_TRIP_SECONDS):
        return None
    return Problem(
        Code.LINK_SLOW,
        (link.source, link.target),
        f"From {link.source} to {link.target} go {facts.bytes_per_second / 1e6:.1f} MB/s, and a "
        f"round trip takes {facts.round_trip_seconds * 1e3:.2f} ms, so each step of a million "
        f"parameters waits {_wait_seconds(link):.2g} s or more: use a faster network, or the "
        "workers of one node.",
    )


def _wait_seconds(link: Link) -> float:
    """What a gradient of four megabytes and two round trips take."""
    return 4e6 / max(link.facts.bytes_per_second, 1.0) + 2 * link.facts.round_trip_seconds


def _no_cpus(cluster: Cluster) -> Iterator[Problem]:
    if not sum(node.cpus for node in cluster.nodes):
        yield Problem(
            Code.NO_CPUS,
            tuple(node.name for node in cluster.nodes),
            "The cluster has no CPUs for workers: start nodes with --num-cpus of 1 or more.",
        )


_RULES: tuple[Callable[[Cluster], Iterator[Problem]], ...] = (
    _no_cpus,
    _silent,
    _open_doors,
    _versions,
    _old_cpus,
    _other_bits,
    _links,
    _small_memory,
    _clocks,
)


def _listed(nodes: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(nodes[:-1]), nodes[-1])))


def _megabytes(value: int) -> str:
    return f"{value / (1 << 20):,.0f} MiB"


def _thousands(value: int) -> str:
    return f"{value // 1000 * 1000:,}"
