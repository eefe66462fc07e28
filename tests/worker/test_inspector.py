"""A node's facts are those of this machine, as the suite's own process has them."""

import os
import time

import pytest

from gradloom.worker import inspector
from gradloom.worker.engine.profile import PROFILE_DEFAULT
from gradloom.worker.engine.selftest import self_test
from gradloom.worker.inspection import LinkFacts, NodeFacts, decode
from gradloom.worker.inspector import Inspector, cpu_fields, node_facts

CPUS = "vendor_id : GenuineIntel\nmodel name : Old\nflags\t: fpu avx\n\nmodel name : Second\n"


def test_facts_are_those_of_the_process_and_its_node() -> None:
    facts = decode(NodeFacts, Inspector().facts())
    tested = self_test()
    assert (facts.selftest_sha256, facts.openblas_core) == (tested.sha256, tested.openblas_core)
    assert facts.profile == PROFILE_DEFAULT
    assert facts.versions is not None and facts.versions["numpy"] == tested.numpy
    assert 0 <= facts.shm_free <= facts.shm_bytes == os.statvfs("/dev/shm").f_blocks * page_size()


def page_size() -> int:
    return os.statvfs("/dev/shm").f_frsize


def test_a_cpu_is_told_by_its_first_core() -> None:
    assert cpu_fields(CPUS) == {
        "vendor_id": "GenuineIntel",
        "model name": "Old",
        "flags": "fpu avx",
    }


def test_a_cpu_that_lacks_something_is_not_made_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inspector.NEEDS, PROFILE_DEFAULT, frozenset({"avx10.9"}))
    facts = node_facts()
    assert facts.cpu_lacks == ("avx10.9",)
    assert facts.selftest_sha256 == ""


def test_the_clock_is_the_wall_clock() -> None:
    before = time.time()
    assert before <= Inspector().clock() <= time.time()


def test_inspectors_measure_the_way_between_them() -> None:
    one, other = Inspector(), Inspector()
    key = b"k" * 32
    facts = decode(LinkFacts, one.measure("127.0.0.1", other.listen("127.0.0.1", key), key))
    assert facts.failure == "" and facts.bytes_per_second > 0
