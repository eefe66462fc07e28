"""What happens to what hosts say to each other: cut, cut one way, lost, slowed; for a while.

Each is a context manager that heals what it did, also where it could do only a part of it; after
a loss of power, with which all faults of a host go, there is nothing to heal.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from benchmarks.hosts.network import Host, Network
from benchmarks.hosts.tools import CannotUse, require

# A queue that a slow link keeps, at most.
_QUEUE = "100ms"

_LOSS = """
table netdev gradloom {{
  chain {port} {{
    type filter hook ingress device "{port}" priority 0;
    numgen random mod 100 < {percent} drop;
  }}
}}
"""


@contextmanager
def cut(network: Network, host: Host) -> Iterator[None]:
    """A host reaches nobody, and nobody reaches it: its cable is out."""
    with ExitStack() as healing:
        network.on_switch("ip", "link", "set", host.name, "down")
        healing.callback(_healer(host, network.on_switch), "ip", "link", "set", host.name, "up")
        yield


@contextmanager
def one_way_cut(source: Host, target: Host) -> Iterator[None]:
    """Nothing that one host sends reaches the other; the way back is open."""
    route = ("blackhole", f"{target.address}/32")
    with ExitStack() as healing:
        source.run("ip", "route", "add", *route)
        healing.callback(_healer(source, source.run), "ip", "route", "delete", *route)
        yield


@contextmanager
def parted(one: Host, other: Host) -> Iterator[None]:
    """Two hosts do not reach each other; all others reach both."""
    with one_way_cut(one, other), one_way_cut(other, one):
        yield


@contextmanager
def loss(network: Network, host: Host, percent: int) -> Iterator[None]:
    """A share of the packets to and from a host is lost without a word to who sent them."""
    with ExitStack() as healing:
        for run, port in ((host.run, "eth0"), (network.on_switch, host.name)):
            run("nft", "-f", "-", text=_LOSS.format(port=port, percent=percent))
            chain = ("netdev", "gradloom", port)
            healing.callback(_healer(host, run), "nft", "delete", "chain", *chain)
        yield


@contextmanager
def slow(network: Network, host: Host, megabits: float) -> Iterator[None]:
    """A host sends and receives so many megabits a second, and no more."""
    burst = max(32_000, int(megabits * 1e6 / 8 / 100))
    bucket = ("tbf", "rate", f"{megabits}mbit", "burst", str(burst), "latency", _QUEUE)
    with ExitStack() as healing:
        for run, port in ((host.run, "eth0"), (network.on_switch, host.name)):
            run("tc", "qdisc", "add", "dev", port, "root", *bucket)
            healing.callback(_healer(host, run), "tc", "qdisc", "delete", "dev", port, "root")
        yield


class _Run(Protocol):
    def __call__(self, *command: str, text: str = "") -> str: ...


def _healer(host: Host, run: _Run) -> Callable[..., None]:
    """Runs a command unless the host has lost its power since."""
    keeper = host.keeper

    def heal(*command: str) -> None:
        if host.is_on and host.keeper is keeper:
            run(*command)

    return heal


def missing(network: Network) -> dict[str, str]:
    """Why some of the tools cannot be used here, by their names."""
    host, other = network.hosts[:2]
    trials = {
        "ip": one_way_cut(host, other),
        "nft": loss(network, host, 0),
        "tc": slow(network, host, 1000),
    }
    return {tool: why for tool, trial in trials.items() if (why := _reason(tool, trial))}


def _reason(tool: str, trial: AbstractContextManager[None]) -> str:
    try:
        require(tool)
        with trial:
            return ""
    except CannotUse as refusal:
        return refusal.why
