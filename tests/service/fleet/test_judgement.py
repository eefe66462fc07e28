"""What would go wrong in a cluster is said with the node and the remedy, and nothing else is."""

from dataclasses import replace

import pytest

from gradloom.service.fleet.cluster import Clock, Cluster, Link, Node
from gradloom.service.fleet.judgement import Code, problems
from gradloom.worker.inspection import LinkFacts, NodeFacts

HERE = {"gradloom": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "numba": "0.68.1", "bits": "2"}
HERE |= {"llvmlite": "0.50.0", "ray": "2.60.0"}

FACTS = NodeFacts(
    cpu="AMD EPYC",
    cpu_family="AuthenticAMD 25 17",
    versions=HERE,
    profile="x86-64-v3",
    selftest_sha256="a" * 64,
    openblas_core="Haswell",
    shm_bytes=1 << 30,
    shm_free=1 << 30,
    authentication="token",
)
FAST = LinkFacts(round_trip_seconds=0.0002, bytes_per_second=1e9)
NAMES = ("node-a", "node-b", "node-c")


def node(name: str, **facts: object) -> Node:
    return Node(name, "10.0.0.1", 4, replace(FACTS, **facts))


def cluster(*nodes: Node, links: tuple[Link, ...] = ()) -> Cluster:
    """Those nodes beside healthy ones of other names."""
    others = [node(name) for name in NAMES if name not in {each.name for each in nodes}]
    return Cluster((*nodes, *others), links, HERE)


def only(found: Cluster) -> tuple[Code, tuple[str, ...], str]:
    (problem,) = problems(found)
    return problem.code, problem.nodes, problem.message


def test_a_healthy_cluster_has_no_problem() -> None:
    links = tuple(Link(a, b, FAST) for a in NAMES for b in NAMES if a != b)
    assert problems(cluster(links=links)) == ()


def test_a_node_that_starts_no_worker_is_named_with_the_reason() -> None:
    silent = Node("node-a", "10.0.0.1", 4, silence="No module named 'gradloom'")
    assert only(cluster(silent)) == (
        Code.NODE_SILENT,
        ("node-a",),
        "node-a starts no worker: No module named 'gradloom'. Install Gradloom there as it is "
        "here, and look at Ray's logs of that node.",
    )


def test_other_versions_are_all_named() -> None:
    other = node("node-b", versions={**HERE, "numpy": "2.4.5", "python": "3.12.1"})
    assert only(cluster(other)) == (
        Code.VERSIONS_DIFFER,
        ("node-b",),
        "node-b has python 3.12.1, numpy 2.4.5, and this machine python 3.11.7, numpy 2.4.6: "
        "install the same release of Gradloom with the same packages on both.",
    )


@pytest.mark.parametrize(
    ("facts", "cure"),
    [
        ({"denormals": False}, "a library there flushes denormal numbers to zero"),
        ({"threads": 2}, "its OpenBLAS has 2 threads"),
        ({"openblas_core": "Nehalem"}, "its OpenBLAS is Nehalem: use CPUs of one kind"),
        ({"openblas_core": ""}, "its OpenBLAS is not the one of NumPy"),
    ],
)
def test_other_bits_come_with_what_causes_them(facts: dict[str, object], cure: str) -> None:
    code, nodes, message = only(cluster(node("node-c", selftest_sha256="b" * 64, **facts)))
    assert (code, nodes) == (Code.BITS_DIFFER, ("node-c",))
    assert "self-test bbbbbbbb, elsewhere aaaaaaaa" in message and cure in message


def test_other_bits_of_other_packages_are_cured_by_the_same_packages() -> None:
    other = node("node-c", selftest_sha256="b" * 64, versions={**HERE, "numba": "0.60.0"})
    versions, bits = problems(cluster(other))
    assert [versions.code, bits.code] == [Code.VERSIONS_DIFFER, Code.BITS_DIFFER]
    assert bits.message.endswith("install the versions of this machine there.")


def test_a_cpu_without_what_the_profile_needs_has_no_self_test_to_differ() -> None:
    old = node("node-a", cpu="Xeon E5420", cpu_lacks=("avx2", "fma"), selftest_sha256="")
    code, _, message = only(cluster(old))
    assert code is Code.CPU_TOO_OLD
    assert "node-a (Xeon E5420) lacks avx2, fma: use a newer one" in message


def test_nodes_that_ask_for_no_token_are_named_together() -> None:
    doors = [node(name, authentication="disabled") for name in NAMES]
    code, nodes, message = only(cluster(*doors))
    assert (code, nodes) == (Code.NO_TOKEN, NAMES)
    assert "node-a, node-b and node-c" in message and "RAY_AUTH_MODE=token" in message


def test_small_shared_memory_is_said_with_the_models_that_fit() -> None:
    small = node("node-b", shm_bytes=64 << 20, shm_free=8 << 20)
    assert only(cluster(small)) == (
        Code.SHM_TOO_SMALL,
        ("node-b",),
        "/dev/shm of node-b has 8 MiB free of 64 MiB, so models of more than 209,000 parameters "
        "are summed over sockets there: give it at least 128 MiB, in containers by a larger shm "
        "size.",
    )


@pytest.mark.parametrize(("ahead", "side"), [(4.2, "ahead of"), (-4.2, "behind")])
def test_a_clock_that_is_off_is_said_with_its_side(ahead: float, side: str) -> None:
    off = replace(node("node-a"), clock=Clock(ahead, 0.01))
    code, nodes, message = only(cluster(off))
    assert (code, nodes) == (Code.CLOCK_OFF, ("node-a",))
    assert f"is 4.2 s {side} this machine's" in message and "NTP" in message


def test_a_clock_in_doubt_is_not_blamed() -> None:
    assert not problems(cluster(replace(node("node-a"), clock=Clock(4.2, 3.5))))


def test_a_cut_link_is_named_in_its_direction() -> None:
    cut = Link("node-a", "node-b", LinkFacts(failure="timed out"))
    code, nodes, message = only(cluster(links=(cut, Link("node-b", "node-a", FAST))))
    assert (code, nodes) == (Code.LINK_CUT, ("node-a", "node-b"))
    assert message.startswith("node-a cannot reach node-b (timed out)")


@pytest.mark.parametrize(
    ("facts", "waits"),
    [(LinkFacts(0.0001, 1e6), "4 s"), (LinkFacts(0.05, 1e9), "0.1 s")],
    ids=["little bandwidth", "long round trips"],
)
def test_a_slow_link_is_said_with_what_a_step_waits(facts: LinkFacts, waits: str) -> None:
    code, nodes, message = only(cluster(links=(Link("node-a", "node-b", facts),)))
    assert (code, nodes) == (Code.LINK_SLOW, ("node-a", "node-b"))
    assert f"each step of a million parameters waits {waits} or more" in message


def test_a_cluster_without_cpus_can_run_nothing() -> None:
    nodes = [replace(node(name), cpus=0) for name in NAMES]
    assert only(cluster(*nodes))[:2] == (Code.NO_CPUS, NAMES)


def test_the_gravest_problems_come_first() -> None:
    silent = Node("node-a", "10.0.0.1", 4, silence="died")
    small = node("node-b", shm_free=0)
    cut = Link("node-b", "node-c", LinkFacts(failure="timed out"))
    codes = [problem.code for problem in problems(cluster(small, silent, links=(cut,)))]
    assert codes == [Code.NODE_SILENT, Code.LINK_CUT, Code.SHM_TOO_SMALL]


def test_every_sentence_ends_in_a_remedy() -> None:
    bad = node(
        "node-a",
        versions={},
        authentication="none",
        shm_free=0,
        selftest_sha256="b" * 64,
        cpu_lacks=("fma",),
    )
    links = (
        Link("node-a", "node-b", LinkFacts(failure="x")),
        Link("node-b", "node-a", LinkFacts(1, 1)),
    )
    silent = Node("node-c", "10.0.0.1", 0, silence="died")
    found = problems(cluster(replace(bad, clock=Clock(9, 0)), silent, node("node-b"), links=links))
    assert {problem.code for problem in found} == set(Code) - {Code.NO_CPUS}
    assert all(each.message.endswith(".") and ":" in each.message for each in found)
