"""The command that says what would go wrong on a Ray cluster."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import click

from gradloom.service.cli.exits import Exit
from gradloom.service.cli.extras import needing
from gradloom.service.cli.output import Output, prints
from gradloom.service.fleet.cluster import Cluster, Link, Node
from gradloom.service.fleet.judgement import Problem, problems
from gradloom.service.fleet.ray_environment import prepare
from gradloom.service.terminal import CountBar, table
from gradloom.service.wording import plural, size
from gradloom.worker.engine.profile import PROFILE_DEFAULT, PROFILES

_NODE_HEADS = ("node", "address", "CPUs", "CPU", "family", "self-test", "/dev/shm free", "clock")
_LINK_HEADS = ("from", "to", "round trip", "a second")
# A cluster of more nodes has too many ways between them for a terminal; --json has them all.
_SHOWN_LINKS = 30


def _host_and_port(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Raises BadParameter for what is no address of a cluster's head."""
    host, _, port = value.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise click.BadParameter(f"{value!r} is not HOST:PORT, for example 10.0.0.1:6379")
    return value


@click.command("cluster-check")
@click.option(
    "--address",
    metavar="HOST:PORT",
    required=True,
    callback=_host_and_port,
    help="The head of the Ray cluster.",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default=PROFILE_DEFAULT,
    show_default=True,
    help="The arithmetic that workers are started with.",
)
@prints
def cluster_check_command(output: Output, address: str, profile: str) -> int:
    """\b
    Examples:
      gradloom cluster-check --address 10.0.0.1:6379
      gradloom cluster-check --address 10.0.0.1:6379 --json | jq .problems

    Starts a process on each node of a running Ray cluster, as workers are started, and asks for
    its CPUs, versions, self-test, shared memory and clock; then measures the way between each two
    nodes. Says in a sentence each what would go wrong and what helps, and ends with 1 where
    anything would. Run it on a node of the cluster; RAY_AUTH_TOKEN_PATH names the file with the
    cluster's token.
    """
    prepare(os.environ, None)
    with needing("ray", "gradloom cluster-check"):
        from gradloom.service.fleet.ray_inspection import inspect

    output.note(f"connecting to Ray at {address}")
    with _shown(output) as progress:
        cluster = inspect(address, profile, progress)
    found = problems(cluster)
    if output.is_json:
        output.document(_document(cluster, found))
    else:
        _print(output, cluster, found)
    return Exit.FAILED if found else Exit.DONE


@contextmanager
def _shown(output: Output) -> Iterator[Callable[[int, int], None]]:
    """Where progress goes: a bar for people who look on, else a note at every quarter."""
    if not output.is_live:
        yield _Quarters(output)
        return
    with CountBar(sys.stderr, "nodes and links", is_colored=output.is_colored(sys.stderr)) as bar:
        yield bar.show


class _Quarters:
    """Progress as a note for every quarter of the work."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = 0

    def __call__(self, done: int, of: int) -> None:
        if 4 * done // of > self._last:
            self._last = 4 * done // of
            self._output.note(f"nodes and links checked: {done} of {of}")


def _print(output: Output, cluster: Cluster, found: Sequence[Problem]) -> None:
    if not output.is_quiet:
        output.data(table(_NODE_HEADS, [_node_row(node) for node in cluster.nodes]))
    if cluster.links and not output.is_quiet:
        output.data("")
        rows = [_link_row(link) for link in _worst(cluster.links)]
        output.data(table(_LINK_HEADS, rows, right=_LINK_HEADS[2:]))
        _say_what_is_missing(output, cluster)
    if not output.is_quiet:
        output.data("")
    for problem in found:
        output.data(f"{problem.code}: {problem.message}")
    if not found:
        cpus = plural(int(sum(node.cpus for node in cluster.nodes)), "CPU")
        output.data(f"Nothing would go wrong: {plural(len(cluster.nodes), 'node')}, {cpus}.")


def _say_what_is_missing(output: Output, cluster: Cluster) -> None:
    if len(cluster.links) > _SHOWN_LINKS:
        output.data(f"… and {len(cluster.links) - _SHOWN_LINKS} faster ones, see --json")


def _worst(links: Sequence[Link]) -> Sequence[Link]:
    """As many as are shown, the slowest of them, in the order they were measured in."""
    slowest = sorted(links, key=lambda link: link.facts.bytes_per_second)[:_SHOWN_LINKS]
    return [link for link in links if link in slowest]


def _node_row(node: Node) -> tuple[str, ...]:
    facts = node.facts
    if node.silence:
        return (node.name, node.address, f"{node.cpus:g}", "no answer", "", "", "", "")
    return (
        node.name,
        node.address,
        f"{node.cpus:g}",
        facts.cpu,
        facts.cpu_family,
        facts.selftest_sha256[:8] or "none",
        f"{size(facts.shm_free)} of {size(facts.shm_bytes)}",
        f"{node.clock.ahead_seconds * 1e3:+.1f} ms",
    )


def _link_row(link: Link) -> tuple[str, ...]:
    facts = link.facts
    if facts.failure:
        return (link.source, link.target, "–", "cut")
    round_trip = f"{facts.round_trip_seconds * 1e3:.2f} ms"
    return (link.source, link.target, round_trip, size(int(facts.bytes_per_second)))


def _document(cluster: Cluster, found: Sequence[Problem]) -> dict[str, object]:
    return {
        "ok": not found,
        "problems": [asdict(problem) for problem in found],
        "versions_here": dict(cluster.versions_here),
        "nodes": [asdict(node) for node in cluster.nodes],
        "links": [asdict(link) for link in cluster.links],
    }
