"""Two hosts on one machine: network namespaces with a pair of virtual Ethernet devices."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_NETWORK = "10.213.77"


class NoHosts(Exception):
    """Why there are none here."""


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace: what a command line begins with to run there, its address and its device."""

    prefix: tuple[str, ...]
    address: str
    device: str


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Makes two, and removes them. Raises NoHosts."""
    if shutil.which("ip") is None:
        raise NoHosts("there is no ip command here (Debian's iproute2)")
    if os.geteuid() != 0:
        raise NoHosts("network namespaces need root")
    names = [f"gradloom-bench-{os.getpid()}-{i}" for i in range(2)]
    devices = [f"glb{os.getpid()}{end}" for end in "ab"]
    made: list[str] = []
    try:
        for name in names:
            _ip("netns", "add", name)
            made.append(name)
        _ip("link", "add", devices[0], "type", "veth", "peer", "name", devices[1])
        for i, (name, device) in enumerate(zip(names, devices, strict=True)):
            _ip("link", "set", device, "netns", name)
            _ip("-n", name, "addr", "add", f"{_NETWORK}.{i + 1}/24", "dev", device)
            for up in (device, "lo"):
                _ip("-n", name, "link", "set", up, "up")
        first, second = (
            Host(("ip", "netns", "exec", name), f"{_NETWORK}.{i + 1}", device)
            for i, (name, device) in enumerate(zip(names, devices, strict=True))
        )
        yield first, second
    finally:
        for name in made:
            _ip("netns", "delete", name)


def _ip(*words: str) -> Sequence[str]:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoHosts(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.splitlines()
