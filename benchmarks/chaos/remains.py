"""What a run leaves behind: processes, segments, sockets, temporary files, actors, groups."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.chaos.processes import all_processes
from benchmarks.chaos.site import Site

SETTLE_SECONDS = 15.0
_SHARED_MEMORY = Path("/dev/shm")
# A listening socket in /proc/net/tcp.
_LISTENING = "0A"


def settled(
    look: Callable[[], tuple[str, ...]], seconds: float = SETTLE_SECONDS
) -> tuple[str, ...]:
    """What is still there after a while; returns as soon as nothing is."""
    end = time.monotonic() + seconds
    while True:
        left = look()
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.2)


def after_jobs(site: Site, idle: int) -> tuple[str, ...]:
    """What jobs that ended left behind in a service that is up."""
    return (*_workers(idle), *_segments(), *_files(site))


def after_all(site: Site, allowed: Callable[[str], bool] = lambda _: False) -> tuple[str, ...]:
    """What is left once the service has ended; allowed says which processes are not its own."""
    processes = (
        f"process {each.pid} {each.words}" for each in all_processes() if not allowed(each.words)
    )
    return (*processes, *_segments(), *_files(site))


def listening() -> tuple[str, ...]:
    """TCP ports that something listens on."""
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    ports = {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == _LISTENING}
    return tuple(f"port {port}" for port in sorted(ports))


def _workers(idle: int) -> Iterator[str]:
    workers = [each for each in all_processes() if each.is_worker]
    if len(workers) > idle:
        yield from (f"worker process {each.pid} {each.words}" for each in workers)


def _segments() -> Iterator[str]:
    for path in sorted(_SHARED_MEMORY.iterdir()):
        if path.name.startswith("gradloom"):
            yield f"segment {path}"


def _files(site: Site) -> Iterator[str]:
    for path in sorted(site.temporary.rglob("*")):
        yield f"temporary file {path}"
    for path in sorted(site.data.rglob("*.partial")):
        yield f"part of a file {path}"
