"""Facts travel as JSON, between versions too."""

import json

import pytest

from gradloom.worker.inspection import LinkFacts, NodeFacts, decode, encode


@pytest.mark.parametrize(
    "facts",
    [
        NodeFacts(cpu_lacks=("avx2",), versions={"numpy": "2.4.6"}, shm_free=3),
        NodeFacts(),
        LinkFacts(0.5, 1e9),
        LinkFacts(failure="timed out"),
    ],
)
def test_facts_arrive_as_they_were_sent(facts: NodeFacts | LinkFacts) -> None:
    assert decode(type(facts), encode(facts)) == facts


def test_what_another_version_has_besides_or_not_is_left_out() -> None:
    assert decode(NodeFacts, b'{"cpu": "AMD", "sockets": 2}') == NodeFacts(cpu="AMD")


@pytest.mark.parametrize("document", [[], {"shm_free": "much"}, {"versions": 3}, {"cpu": None}])
def test_what_is_no_fact_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="came as"):
        decode(NodeFacts, json.dumps(document).encode())
