"""What was found of a cluster: its nodes, the ways between them, and their clocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gradloom.worker.inspection import LinkFacts, NodeFacts


@dataclass(frozen=True, slots=True)
class Clock:
    """How far a node's clock is ahead of ours, give or take."""

    ahead_seconds: float = 0.0
    uncertainty_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node that Ray knows as alive; silence is why it has said nothing, where it has not."""

    name: str
    address: str
    cpus: float
    facts: NodeFacts = field(default_factory=NodeFacts)
    clock: Clock = field(default_factory=Clock)
    silence: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """The way from one node to another, by their names."""

    source: str
    target: str
    facts: LinkFacts


@dataclass(frozen=True, slots=True)
class Cluster:
    """All that was found, and the versions of who asked."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    versions_here: Mapping[str, str]


def pairings(nodes: int) -> Iterator[list[tuple[int, int]]]:
    """Every pair of nodes once, in rounds in which no node takes part twice.

    The circle method: one stays in its place, all others move on by one.
    """
    places: Sequence[int | None] = [*range(nodes), *([None] if nodes % 2 else [])]
    for _ in range(len(places) - 1):
        across = zip(places[: len(places) // 2], reversed(places), strict=False)
        yield [(a, b) for a, b in across if a is not None and b is not None]
        places = [places[0], places[-1], *places[1:-1]]


def names(hosts: Sequence[tuple[str, str]]) -> list[str]:
    """What nodes of (host name, address) are called: by name, or by address where it is not one."""
    known = [name for name, _ in hosts]
    return [name if known.count(name) == 1 else address for name, address in hosts]
