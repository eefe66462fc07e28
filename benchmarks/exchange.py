"""Sum, Adam update and broadcast of a gradient, beside Gloo's all-reduce with fused Adam.

Run as `make bench-exchange`. PyTorch stands in an environment of its own: TORCH_PYTHON, or
.venv-torch/bin/python where that is there. Prints tables and writes results/exchange.json.

Nobody computes gradients here: a step is two agreements, the sum of the members' registers, and
the update from one side of the state into the other. The limit on one node is what the same bytes
take to be copied: of W members each step reads W gradients and Adam's 3 vectors and writes 3, so
(W + 6) × size, at the rate at which W processes together copy as much of their own memory, where
a byte that is copied is read and written. Where there are enough cores every process, ours and
Gloo's, is kept on one of its own: else the system may have two take turns on one, which takes
twice as long.
"""

import argparse
import json
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks.child import Answer
from benchmarks.contestant import ROOT
from benchmarks.exchange_rows import Row, Settings, row
from benchmarks.exchange_table import show
from benchmarks.figures import Burst
from benchmarks.hosts.network import network
from benchmarks.hosts.tools import CannotUse
from benchmarks.machine import machine
from benchmarks.programs import find_torch
from benchmarks.team import Team, gloos, weavers
from gradloom.service.training.certificate import fresh_certificate
from gradloom.worker.engine.profile import PROFILE_DEFAULT

_RESULTS = ROOT / "benchmarks/results/exchange.json"
_SHARED_MEMORY = "/dev/shm"
_LOOPBACK = "127.0.0.1"
# Adam: three vectors are read and three written.
_STATE = 6
_SHARDS = 16


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: megabytes (10⁶), rounds, and about how long a burst takes."""

    megabytes: tuple[float, ...]
    shared_megabytes: float
    crowds: tuple[int, ...]
    rounds: int
    burst_seconds: float


FULL = Extent((0.004, 0.04, 0.4, 2.1, 8.0, 40.0), 2.1, (2, 4, 8, 16), 15, 0.25)
QUICK = Extent((0.004, 2.1), 0.4, (2, 4), 2, 0.02)


@dataclass(frozen=True, slots=True)
class Place:
    """Where members run: their cells, addresses, how they are started there, and their devices.

    Cells with a certificate talk under TLS.
    """

    name: str
    cells: tuple[int, ...]
    hosts: tuple[str, ...]
    prefixes: tuple[tuple[str, ...], ...]
    devices: tuple[str, ...]
    certificate: str = ""

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self.cells)


def here(name: str, cells: Sequence[int]) -> Place:
    """Members on this host."""
    count = len(cells)
    hosts, devices = (_LOOPBACK,) * count, ("lo",) * count
    return Place(name, tuple(cells), hosts, tuple(_on_cores(count)), devices)


def _on_cores(count: int) -> Iterator[tuple[str, ...]]:
    """Begins each command line, so that every contestant has a core, where there are enough."""
    cores = sorted(os.sched_getaffinity(0))
    for number in range(count):
        yield ("taskset", "--cpu-list", str(cores[number])) if count <= len(cores) else ()


class Ours:
    """A formation of our members."""

    def __init__(self, team: Team, place: Place) -> None:
        self._team, self._place = team, place
        self._addresses = [answer["address"] for answer in team.all("about")]

    def prepare(self, size: int) -> None:
        """Enters a formation for vectors of so many elements."""
        count = self._place.workers
        bounds = [_SHARDS * i // count for i in range(count + 1)]
        members = [
            [i, cell, address, 0, bounds[i], bounds[i + 1]]
            for i, (cell, address) in enumerate(
                zip(self._place.cells, self._addresses, strict=True)
            )
        ]
        common = {
            "members": members,
            "size": size,
            "shards": _SHARDS,
            "folder": _SHARED_MEMORY,
            "certificate": self._place.certificate,
        }
        self._team.ask("enter", [{**common, "worker": i} for i in range(count)])

    def run(self, steps: int) -> list[Answer]:
        """What each member says of so many steps."""
        return self._team.all("run", steps=steps)

    def copy_seconds(self, size: int, rounds: int) -> list[float]:
        """How long all together take to copy so many bytes."""
        part = max(size // self._place.workers, 1)
        answers = self._team.all("copy", size=part, rounds=rounds)
        return [max(together) for together in zip(*(a["seconds"] for a in answers), strict=True)]

    def agree_seconds(self, count: int) -> float:
        """The median of so many agreements."""
        seconds: list[float] = self._team.all("agree", count=count)[0]["seconds"]
        return median(seconds)

    def leave(self) -> None:
        """Leaves the formation."""
        self._team.all("leave")


class Theirs:
    """A process group of Gloo."""

    def __init__(self, team: Team, place: Place) -> None:
        self._team = team
        address = f"{place.hosts[0]}:{_free_port()}"
        given = [
            {"rank": i, "ranks": place.workers, "address": address} for i in range(place.workers)
        ]
        self.version = str(team.ask("enter", given)[0]["torch"])

    def prepare(self, size: int) -> None:
        """Makes vectors of so many elements."""
        self._team.all("prepare", size=size)

    def run(self, steps: int) -> Answer:
        """What the first rank says of so many steps."""
        return self._team.all("run", steps=steps)[0]


def _free_port() -> int:
    """Free on this host; in another namespace all are."""
    with socket.create_server((_LOOPBACK, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def measure(
    place: Place, megabytes: Sequence[float], extent: Extent, torch: str | None, settings: Settings
) -> Iterator[Row]:
    """The rows of a place, one for each size; raises ContestantFailed."""
    with Team(weavers(place.hosts, place.prefixes)) as members:
        ours = Ours(members, place)
        if torch is None:
            yield from (_measured(place, size, extent, ours, None, settings) for size in megabytes)
            return
        with Team(gloos(torch, place.prefixes, place.devices)) as ranks:
            theirs = Theirs(ranks, place)
            around = settings.with_torch(theirs.version)
            yield from (_measured(place, size, extent, ours, theirs, around) for size in megabytes)
            ranks.all("leave")


def _measured(
    place: Place,
    megabytes: float,
    extent: Extent,
    ours: Ours,
    theirs: Theirs | None,
    settings: Settings,
) -> Row:
    size = int(megabytes * 1e6) // 4
    ours.prepare(size)
    if theirs:
        theirs.prepare(size)
    steps = _steps(ours.run(3), extent)
    answers: list[list[Answer]] = []
    others: list[Answer] = []
    copies: list[float] = []
    agreements: list[float] = []
    moved = 4 * size * (place.workers + _STATE)
    for number in range(extent.rounds):
        if theirs and number % 2:
            others.append(theirs.run(steps))
        answers.append(ours.run(steps))
        if theirs and not number % 2:
            others.append(theirs.run(steps))
        if len(set(place.cells)) == 1:
            copies += ours.copy_seconds(moved // 2, 4)
        agreements.append(ours.agree_seconds(50))
    ours.leave()
    return row(
        place.name,
        place.cells,
        size,
        [_burst(each[0]) for each in answers],
        answers[-1],
        [_burst(each) for each in others],
        [value for each in others for value in each["reduce"]],
        copies,
        agreements,
        settings,
    )


def _burst(answer: Answer) -> Burst:
    return Burst(tuple(answer["seconds"]), (), ())


def _steps(answers: list[Answer], extent: Extent) -> int:
    """As many as take about as long as a burst should."""
    seconds = median(answers[0]["seconds"])
    return min(max(int(extent.burst_seconds / seconds), 3), 300)


def rows(extent: Extent, torch: str | None, settings: Settings, say: Console) -> Iterator[Row]:
    """All rows; what is skipped is said, and why."""
    say.print("two members on one node")
    yield from measure(here("one node", (0, 0)), extent.megabytes, extent, torch, settings)
    try:
        with network(("host-a", "host-b")) as joined:
            hosts = joined.hosts
            say.print("two members on two hosts")
            place = Place(
                "two hosts",
                (0, 1),
                tuple(host.address for host in hosts),
                tuple(
                    (*host.keeper.inside(()), *core)
                    for host, core in zip(hosts, _on_cores(len(hosts)), strict=True)
                ),
                ("eth0", "eth0"),
            )
            yield from measure(place, extent.megabytes, extent, torch, settings)
            say.print("two members on two hosts, under TLS")
            sealed = replace(place, name="two hosts, TLS", certificate=fresh_certificate().decode())
            yield from measure(sealed, extent.megabytes, extent, None, settings)
    except CannotUse as reason:
        say.print(f"skipped two hosts: {reason}")
    for count in extent.crowds:
        say.print(f"{count} members on these cores")
        for name, cells in (
            ("one cell", [0] * count),
            ("two cells", [i * 2 // count for i in range(count)]),
            ("cells of one", range(count)),
        ):
            crowd = here(f"time-shared, {name}", tuple(cells))
            yield from measure(crowd, (extent.shared_megabytes,), extent, None, settings)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few sizes, shortly: does it run?")
    parser.add_argument("--rounds", type=int, help="how often every contestant's turn comes")
    parser.add_argument("--output", type=Path, default=_RESULTS, help="the JSON file to write")
    return parser.parse_args()


def main() -> None:
    """Measures, prints, writes."""
    options, console = _options(), Console()
    extent = QUICK if options.quick else FULL
    if options.rounds:
        extent = replace(extent, rounds=options.rounds)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    settings = Settings(machine(), PROFILE_DEFAULT, now, "")
    found = tuple(rows(extent, find_torch(os.environ), settings, Console(stderr=True)))
    show(found, console)
    text = json.dumps([asdict(each) for each in found], indent=2, ensure_ascii=False)
    options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
