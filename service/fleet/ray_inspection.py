"""Asks every node of a running Ray cluster what it is, and every pair of nodes for the way between.

An inspector runs on each node, as an actor that is started as workers are but takes no CPU.
"""

import logging
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gradloom.service.fleet.cluster import Clock, Cluster, Link, Node, names, pairings
from gradloom.service.fleet.unreachable import first_line, unreachable, unreachable_as
from gradloom.worker.engine.profile import PROFILES
from gradloom.worker.inspection import LinkFacts, NodeFacts, decode
from gradloom.worker.inspector import Inspector
from gradloom.worker.versions import versions

# So many of so many questions are answered.
Progress = Callable[[int, int], None]

REACH_SECONDS = 5.0
# A process starts, and loads the kernels of the self-test or compiles them.
FACTS_SECONDS = 60.0
LINK_SECONDS = 30.0
CLOCK_SAMPLES = 5

# Ray's own types say nothing about an actor's methods.
_Handle = Any
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Place:
    """A node and its inspector."""

    node: Node
    inspector: _Handle


def inspect(address: str, profile: str, progress: Progress) -> Cluster:
    """What a cluster, given as HOST:PORT, is like. Raises Unavailable where it cannot be reached.

    Before this module is imported, ray_environment must have been prepared: Ray reads it once.
    """
    _require_listener(address)
    _connect(address)
    try:
        return _inspect(_nodes(), profile, progress)
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raises Unavailable where nobody listens: Ray would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise unreachable(address, error) from error


def _connect(address: str) -> None:
    try:
        ray.init(
            address=address, logging_level=logging.ERROR, log_to_driver=False, namespace="gradloom"
        )
    except ConnectionError as error:
        # Ray tells its log, and nobody else, that a token was refused.
        why = "it refuses the token, or is no Ray: RAY_AUTH_TOKEN_PATH has to name the cluster's"
        raise unreachable_as(address, why) from error
    except (RayError, RuntimeError, ValueError, OSError) as error:
        raise unreachable(address, error) from error


def _nodes() -> list[tuple[str, Node]]:
    """Ray's id of each living node, and what Ray knows of it."""
    # Ray leaves this one function without types.
    known = ray.nodes()  # type: ignore[no-untyped-call]
    alive = sorted(
        (each for each in known if each["Alive"]), key=lambda each: each["NodeManagerHostname"]
    )
    hosts = [(each["NodeManagerHostname"], each["NodeManagerAddress"]) for each in alive]
    return [
        (each["NodeID"], Node(name, each["NodeManagerAddress"], each["Resources"].get("CPU", 0)))
        for each, name in zip(alive, names(hosts), strict=True)
    ]


def _inspect(nodes: Sequence[tuple[str, Node]], profile: str, progress: Progress) -> Cluster:
    counted = _Counted(progress, len(nodes) + len(nodes) * (len(nodes) - 1))
    places = [_Place(node, _inspector(key, PROFILES[profile])) for key, node in nodes]
    asked = _ask_all(places, counted)
    heard = [place for place in asked if not place.node.silence]
    links = _measure_all(heard, counted)
    return Cluster(tuple(place.node for place in asked), tuple(links), versions())


class _Counted:
    """Tells how far the check is."""

    def __init__(self, progress: Progress, of: int) -> None:
        self._progress = progress
        self._of = of
        self._done = 0

    def one(self) -> None:
        self._done += 1
        self._progress(self._done, self._of)


def _inspector(node_id: str, variables: Mapping[str, str]) -> _Handle:
    actor: Any = ray.remote(Inspector)
    return actor.options(
        num_cpus=0,
        runtime_env={"env_vars": dict(variables)},
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    ).remote()


def _ask_all(places: Sequence[_Place], counted: _Counted) -> list[_Place]:
    """The places with what their nodes said; all are asked at once."""
    waiting = {place.inspector.facts.remote(): place for place in places}
    asked = dict(waiting)
    deadline = time.monotonic() + FACTS_SECONDS
    answered: dict[str, Node] = {}
    while waiting and (left := deadline - time.monotonic()) > 0:
        ready, _ = ray.wait(list(waiting), num_returns=1, timeout=left)
        for reference in ready:
            place = waiting.pop(reference)
            answered[place.node.name] = _answer(place, reference)
            counted.one()
    late = f"no answer within {FACTS_SECONDS:.0f} s"
    return [
        replace(place, node=answered.get(place.node.name, replace(place.node, silence=late)))
        for place in asked.values()
    ]


def _answer(place: _Place, reference: Any) -> Node:
    try:
        facts = decode(NodeFacts, ray.get(reference, timeout=LINK_SECONDS))
        return replace(place.node, facts=facts, clock=_clock(place.inspector))
    except (RayError, GetTimeoutError, ValueError) as error:
        return replace(place.node, silence=first_line(error))


def _clock(inspector: _Handle) -> Clock:
    """How far a clock is ahead, by the quickest of some questions: half its time is the doubt."""
    samples = []
    for _ in range(CLOCK_SAMPLES):
        asked, start = time.time(), time.perf_counter()
        theirs = float(ray.get(inspector.clock.remote(), timeout=LINK_SECONDS))
        doubt = (time.perf_counter() - start) / 2
        samples.append((doubt, theirs - (asked + doubt)))
    doubt, ahead = min(samples)
    return Clock(ahead, doubt)


def _measure_all(places: Sequence[_Place], counted: _Counted) -> list[Link]:
    """Both directions of every pair; pairs that share no node are measured at once."""
    key = secrets.token_bytes(_KEY_BYTES)
    ports = [_port(place, key) for place in places]
    links = []
    for pairs in pairings(len(places)):
        for turned in (pairs, [(b, a) for a, b in pairs]):
            asked = [
                (a, b, places[a].inspector.measure.remote(places[b].node.address, ports[b], key))
                for a, b in turned
            ]
            for a, b, reference in asked:
                links.append(Link(places[a].node.name, places[b].node.name, _link(reference)))
                counted.one()
    return links


def _port(place: _Place, key: bytes) -> int:
    """Where an inspector listens; 0, where nobody does, if it cannot."""
    try:
        listening = place.inspector.listen.remote(place.node.address, key)
        return int(ray.get(listening, timeout=LINK_SECONDS))
    except (RayError, GetTimeoutError):
        return 0


def _link(reference: Any) -> LinkFacts:
    try:
        return decode(LinkFacts, ray.get(reference, timeout=LINK_SECONDS))
    except (RayError, GetTimeoutError, ValueError) as error:
        return LinkFacts(failure=first_line(error))
