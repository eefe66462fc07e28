"""Formations for tests: their members are threads, each with what it computes."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from gradloom.service.training.certificate import fresh_certificate
from gradloom.worker.exchange.exchange import Exchange, Layout, Vector
from gradloom.worker.exchange.join import join
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.exchange.loom import Loom
from gradloom.worker.exchange.star import Sum, summed
from gradloom.worker.exchange.tree import Node, cover, fold
from gradloom.worker.messages import Formation, Member

R = TypeVar("R")
KEY = b"k" * 32
CERTIFICATE = fresh_certificate()

# All that a test has entered; closed when it ends.
ENTERED: list[Loom] = []


def leaf(shard: int, size: int, step: int = 0) -> Vector:
    """Numbers of very different sizes, so that the order of additions shows."""
    return _leaf(shard, size, step).copy()


@cache
def _leaf(shard: int, size: int, step: int) -> Vector:
    random = np.random.Generator(np.random.Philox(1000 * step + shard))
    return (random.normal(size=size) * 10.0 ** random.integers(-6, 6, size)).astype(np.float32)


def roots(member: Member, layout: Layout, step: int = 0) -> dict[Node, Sum]:
    """What a member's shards add up to."""
    return {
        node: fold(
            node, layout.shards, lambda s: Sum(leaf(s, layout.size, step), (float(s),)), Sum.__add__
        )
        for node in cover(member.first, member.last, layout.shards)
    }


def expected(formation: Formation, layout: Layout, step: int = 0) -> bytes:
    """The star's sum over all shards."""
    parts = [roots(member, layout, step) for member in formation.members]
    return summed(parts, layout.shards).gradient.tobytes()


def formation(
    listeners: Sequence[Listener],
    cells: Sequence[int],
    bounds: Sequence[int],
    folder: Path,
    *,
    number: int = 1,
    patience: float = 5.0,
    workers: Sequence[int] | None = None,
    certificate: bytes = b"",
) -> Formation:
    """Members with these cells; bounds are where their ranges of shards begin and end."""
    members = tuple(
        Member(worker, cell, listener.address, 0, first, last)
        for worker, cell, listener, (first, last) in zip(
            workers or range(len(cells)), cells, listeners, pairwise(bounds), strict=True
        )
    )
    return Formation(number, members, KEY, f"{folder}/run", patience, certificate)


def together(tasks: Sequence[Callable[[], R]], timeout: float = 20.0) -> list[R | Exception]:
    """What the tasks come to, each in a thread of its own; an exception is a result too."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        futures = [pool.submit(task) for task in tasks]
        return [future.exception(timeout) or future.result() for future in futures]  # type: ignore[misc]


def enter(
    formation: Formation,
    listeners: Sequence[Listener],
    layout: Layout,
    before: Sequence[Exchange | None] | None = None,
) -> list[Loom]:
    """Every member's end."""
    befores = before or [None] * len(listeners)
    tasks = [
        lambda m=member, ear=listener, b=old: join(formation, m.worker, ear, layout, b)
        for member, listener, old in zip(formation.members, listeners, befores, strict=True)
    ]
    results = together(tasks)
    entered = [result for result in results if isinstance(result, Loom)]
    ENTERED.extend(entered)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return entered


def fill(exchange: Exchange, member: Member, layout: Layout, step: int = 0) -> None:
    """Puts a member's roots where they belong."""
    for register, part in zip(
        exchange.registers, roots(member, layout, step).values(), strict=True
    ):
        np.copyto(register, part.gradient)


def step(exchange: Exchange, member: Member, layout: Layout, number: int = 0) -> bytes:
    """One step as a worker makes it: the sum is written to the first vector of the state."""
    fill(exchange, member, layout, number)
    exchange.agree()
    exchange.begin_sum()
    out, place = np.empty(1000, np.float32), exchange.place
    for begin in range(place.start, place.stop, 1000):
        block = slice(begin, min(begin + 1000, place.stop))
        exchange.state[0][block] = exchange.total(block, out[: block.stop - block.start])
    exchange.agree()
    return exchange.state[0].tobytes()


def steps(formed: Formation, exchanges: Sequence[Loom], layout: Layout, count: int) -> list[object]:
    """So many steps of all members: True where the sum is the star's, else what came instead."""
    results: list[object] = []
    for number in range(count):
        tasks = [
            lambda e=exchange, m=member, n=number: step(e, m, layout, n)
            for exchange, member in zip(exchanges, formed.members, strict=True)
        ]
        results += [each == expected(formed, layout, number) or each for each in together(tasks)]
    return results


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
