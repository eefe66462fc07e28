"""One hash for each job, wherever and by however many workers it is trained.

Run as `make test-bits`, as root where the three hosts are to take part. Writes results/bits.json,
and ends with 1 where any weights differ.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.bits_jobs import KINDS, Kind
from benchmarks.contestant import ROOT
from benchmarks.hosts.cluster import ray_cluster
from benchmarks.hosts.network import network
from benchmarks.hosts.service import service
from benchmarks.hosts.tools import CannotUse
from benchmarks.machine import machine
from benchmarks.serving import client_here
from gradloom.service.client import Client

WORKERS = (1, 2, 3, 5, 8)
STEPS = 12
JOB_SECONDS = 300.0

# On each of three hosts, so that eight workers have one each.
_CPUS_EACH = 3


@dataclass(frozen=True, slots=True)
class Row:
    """What a job came to at a place."""

    model: str
    optimizer: str
    place: str
    workers: int
    weights_sha256: str


def _local(folder: Path) -> AbstractContextManager[Client]:
    return client_here(folder, "--backend", "local")


def _one_node(folder: Path) -> AbstractContextManager[Client]:
    return client_here(folder, "--backend", "ray", "--cpus", str(max(WORKERS)))


@contextmanager
def _three_hosts(folder: Path) -> Iterator[Client]:
    with (
        network() as hosts,
        ray_cluster(hosts, _CPUS_EACH) as cluster,
        service(cluster, folder) as up,
        up.client() as client,
    ):
        yield client


PLACES: dict[str, Callable[[Path], AbstractContextManager[Client]]] = {
    "local processes": _local,
    "Ray on one node": _one_node,
    "Ray on three hosts": _three_hosts,
}


def measure(
    places: Sequence[str], kinds: Sequence[Kind], workers: Sequence[int], steps: int
) -> Iterator[Row]:
    """Trains every job at every place by every number of workers."""
    with tempfile.TemporaryDirectory(prefix="gradloom-bits-") as name:
        for place in places:
            folder = Path(name) / place.replace(" ", "-")
            folder.mkdir()
            with PLACES[place](folder) as client:
                for kind, count in product(kinds, workers):
                    yield _trained(client, kind, place, count, kind.job(Path(name), steps))


def _trained(client: Client, kind: Kind, place: str, workers: int, job: dict[str, object]) -> Row:
    done = client.wait(client.submit(job, workers=workers), timeout=JOB_SECONDS)
    return Row(kind.model, kind.optimizer, place, workers, done.receipt.weights_sha256)


def hashes(rows: Sequence[Row]) -> dict[tuple[str, str], set[str]]:
    """All that each job came to: one hash, if the bits are the same."""
    return {
        (kind.model, kind.optimizer): found
        for kind in KINDS
        if (
            found := {
                row.weights_sha256
                for row in rows
                if (row.model, row.optimizer) == (kind.model, kind.optimizer)
            }
        )
    }


def _shown(rows: Sequence[Row]) -> Table:
    table = Table("model", "optimiser", "runs", "places", "hashes", "weights")
    for (model, optimizer), found in hashes(rows).items():
        mine = [row for row in rows if (row.model, row.optimizer) == (model, optimizer)]
        places = str(len({row.place for row in mine}))
        first = min(found)[:16] if len(found) == 1 else "DIFFERENT"
        table.add_row(model, optimizer, str(len(mine)), places, str(len(found)), first)
    return table


def main() -> int:
    """Measures, prints and writes; 1 where weights differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT)
    parser.add_argument("--place", choices=list(PLACES), action="append")
    parser.add_argument("--workers", type=int, action="append")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    console = Console()
    rows: list[Row] = []
    try:
        for row in measure(
            options.place or list(PLACES), KINDS, options.workers or WORKERS, options.steps
        ):
            rows.append(row)
            console.print(f"{row.place}, {row.workers}: {row.model} {row.optimizer}", end="  ")
            console.print(row.weights_sha256[:16])
    except CannotUse as refusal:
        console.print(f"without the rest: {refusal}")
    differing = sum(len(found) > 1 for found in hashes(rows).values())
    console.print(_shown(rows))
    path = options.output / "benchmarks/results/bits.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine(),
        "steps": options.steps,
        "jobs": len(rows),
        "differing": differing,
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 1 if differing or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
