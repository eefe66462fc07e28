"""The backends that are fought over: how a service of each is started, and what it may leave."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.enclosure import mount
from benchmarks.chaos.generator import ONE_NODE, THREE_HOSTS, Weights
from benchmarks.chaos.nemesis import Means
from benchmarks.chaos.ray_cluster import is_daemon, ray_cluster
from benchmarks.chaos.site import Site
from benchmarks.chaos.three_hosts import CPUS, three_hosts

_CPUS = 8
_SPARES = 2
# Room for the checkpoints of a few small jobs.
_DISK_MEGABYTES = 64


@dataclass(frozen=True, slots=True)
class Phase:
    """A service of one backend, not yet started, and how its remains are told from what may stay.

    idle is how many workers may wait for a next job. left asks the backend itself; allowed says
    of a process's words that it is the backend's own.
    """

    site: Site
    weights: Weights
    idle: int = _CPUS
    left: Callable[[], tuple[str, ...]] = lambda: ()
    allowed: Callable[[str], bool] = lambda _: False
    means: Means = field(default_factory=Means)


@contextmanager
def _local(folder: Path) -> Iterator[Phase]:
    options = ["--backend", "local", "--cpus", str(_CPUS), "--spare-workers", str(_SPARES)]
    yield Phase(_with_small_disk(Site(folder, options)), ONE_NODE)


@contextmanager
def _ray(folder: Path) -> Iterator[Phase]:
    with ray_cluster(folder, _CPUS) as cluster:
        options = ["--backend", "ray", "--ray-address", cluster.address]
        site = _with_small_disk(Site(folder, options, variables=cluster.variables))
        yield Phase(site, ONE_NODE, left=cluster.left, allowed=is_daemon)


@contextmanager
def _hosts(folder: Path) -> Iterator[Phase]:
    # The disk first: hosts see the mounts that there are when they boot.
    mount(_made(folder / "data" / "jobs"), _DISK_MEGABYTES)
    with three_hosts() as hosts:
        cluster = hosts.cluster
        site = Site(
            folder,
            ["--backend", "ray", "--ray-address", cluster.address],
            cluster.environment,
            host=cluster.head.address,
            prefix=cluster.head.keeper.inside([]),
        )
        means = Means(hosts.strikes, hosts.process_id)
        yield Phase(
            site, THREE_HOSTS, idle=CPUS, left=hosts.left, allowed=_is_not_ours, means=means
        )


def _is_not_ours(words: str) -> bool:
    return is_daemon(words) or "gradloom" not in words


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _with_small_disk(site: Site) -> Site:
    mount(site.jobs, _DISK_MEGABYTES)
    return site


BACKENDS = {"local": _local, "ray": _ray, "hosts": _hosts}
