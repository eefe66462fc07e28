"""Hosts joined by a bridge: each with an address, a name, a /dev/shm and processes of its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from benchmarks.hosts.keeper import Inside, Keeper
from benchmarks.hosts.tools import SECONDS, CannotUse, require, run

# Addresses set aside for measurements (RFC 2544), one subnet a network.
_SUBNET = "198.18.{}"
_SUBNETS = 256
_FOLDER = "gradloom-hosts-{}-"
_NUMBERS = count()

SHM_BYTES = 256 << 20


class Host:
    """A machine of its own, as far as programs can tell, but for the files it shares."""

    def __init__(self, name: str, address: str, folder: Path, shm_bytes: int) -> None:
        self.name = name
        self.address = address
        self.shm_bytes = shm_bytes
        # What Ray keeps in /tmp/ray there, with its logs; outlives a loss of power.
        self.ray_folder = folder / name
        self._hosts_file = folder / "hosts"
        self._keeper: Keeper | None = None

    @property
    def keeper(self) -> Keeper:
        """Its namespaces; there are none while it is off."""
        assert self._keeper is not None, f"{self.name} is off"
        return self._keeper

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._keeper is not None

    def boot(self) -> None:
        """Makes its namespaces, with no link yet."""
        self.ray_folder.mkdir(exist_ok=True)
        self._keeper = Keeper(
            [
                f"echo {self.name} >/proc/sys/kernel/hostname",
                f"mount -t tmpfs -o mode=1777,size={self.shm_bytes} tmpfs /dev/shm",
                f"mount --bind {self.ray_folder} /tmp/ray",
                f"mount --bind {self._hosts_file} /etc/hosts",
                "ip link set lo up",
            ]
        )

    def halt(self) -> None:
        """Ends everything inside at once."""
        if self._keeper is not None:
            self._keeper.end()
            self._keeper = None

    def run(
        self,
        *command: str,
        text: str = "",
        env: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> str:
        """What a command prints there; a failure is CannotUse with its last line."""
        return run(command[0], self.keeper.inside(command), text, env, seconds)

    def start(
        self, command: Sequence[str], env: Mapping[str, str], output: int | None = None
    ) -> Inside:
        """Starts a command there, with this environment."""
        return self.keeper.start(command, env, output)

    def processes(self) -> dict[int, int]:
        """Numbers of its processes on this machine, by the numbers they have there."""
        return self.keeper.processes() if self.is_on else {}


class Network:
    """Hosts, the bridge between them, and a link by which this process reaches them."""

    def __init__(self, folder: Path, subnet: str, hosts: Sequence[Host]) -> None:
        self.folder = folder
        self.hosts = tuple(hosts)
        self._subnet = subnet
        # Our own end of a link to the bridge.
        self.uplink = f"gl{os.getpid()}-{next(_NUMBERS)}"
        self.switch = Keeper(
            ["ip link set lo up", "ip link add bridge type bridge", "ip link set bridge up"]
        )

    def host(self, name: str) -> Host:
        """The host of a name."""
        return next(host for host in self.hosts if host.name == name)

    def power_on(self, host: Host) -> None:
        """Boots a host and joins it to the bridge by a link that has the host's name."""
        host.boot()
        # The address of its card stays the same, as peers remember it over a restart.
        card = "02:00:" + ":".join(f"{int(part):02x}" for part in host.address.split("."))
        end = f"name eth0 address {card} netns {host.keeper.pid}"
        link = f"link add {host.name} type veth peer {end}"
        self.on_switch("ip", *link.split())
        host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        self._plug(host.name)

    def power_off(self, host: Host) -> None:
        """Takes a host's power: no peer hears a word of it."""
        self.on_switch("ip", "link", "set", host.name, "down")
        host.halt()
        with suppress(CannotUse):  # it goes with the host's end, when the kernel comes to it
            self.on_switch("ip", "link", "delete", host.name)

    def connect_us(self) -> None:
        """Gives this process an address in the network."""
        ours = self.uplink
        link = f"link add {ours} type veth peer name us netns {self.switch.pid}"
        run("ip", ["ip", *link.split()])
        run("ip", ["ip", "address", "add", f"{self._subnet}.254/24", "dev", ours])
        run("ip", ["ip", "link", "set", ours, "up"])
        self._plug("us")

    def on_switch(self, *command: str, text: str = "") -> str:
        """Runs a command where the bridge is."""
        return run(command[0], self.switch.in_network(command), text)

    def _plug(self, port: str) -> None:
        self.on_switch("ip", "link", "set", port, "master", "bridge", "up")

    def close(self) -> None:
        """Ends all hosts and the bridge; their links go with them, in the kernel's own time."""
        for host in self.hosts:
            host.halt()
        with suppress(CannotUse):  # it may not have been made
            run("ip", ["ip", "link", "delete", self.uplink])
        self.switch.end()


@contextmanager
def network(
    names: Sequence[str] = ("host-a", "host-b", "host-c"),
    shm_bytes: Mapping[str, int] | None = None,
) -> Iterator[Network]:
    """Hosts that are on; /dev/shm has 256 MB, or as much as is said for a name.

    Raises CannotUse with the tool that refuses, where hosts cannot be made.
    """
    require("unshare", "nsenter", "ip")
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER.format(os.getpid())))
    Path("/tmp/ray").mkdir(exist_ok=True)
    subnet = free_subnet(run("ip", ["ip", "-4", "-oneline", "address"]), os.getpid())
    sizes = dict.fromkeys(names, SHM_BYTES) | dict(shm_bytes or {})
    hosts = [
        Host(name, f"{subnet}.{number}", folder, sizes[name])
        for number, name in enumerate(names, start=1)
    ]
    _write_hosts_file(folder, hosts)
    up = Network(folder, subnet, hosts)
    try:
        for host in hosts:
            up.power_on(host)
        up.connect_us()
        yield up
    finally:
        up.close()
        shutil.rmtree(folder, ignore_errors=True)


def free_subnet(addresses: str, first: int) -> str:
    """The first three bytes of a subnet that this machine has no address in."""
    candidates = (_SUBNET.format((first + step) % _SUBNETS) for step in range(_SUBNETS))
    return next(subnet for subnet in candidates if f" {subnet}." not in addresses)


def sweep() -> None:
    """Removes the folders of owners that ended without a chance to; all else went with them."""
    for folder in Path(tempfile.gettempdir()).glob(_FOLDER.format("*") + "*"):
        owner = folder.name.removeprefix(_FOLDER.partition("{")[0]).partition("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _write_hosts_file(folder: Path, hosts: Sequence[Host]) -> None:
    lines = ["127.0.0.1 localhost", *(f"{host.address} {host.name}" for host in hosts)]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
