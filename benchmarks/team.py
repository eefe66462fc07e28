"""Several contestants that do the same at the same time, as members of one job."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

from benchmarks.child import Answer
from benchmarks.contestant import Contestant, Program
from gradloom.worker.engine.profile import PROFILE_DEFAULT, environment


class Team(AbstractContextManager["Team"]):
    """Running contestants, in order; leaving the context ends them."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(ThreadPoolExecutor(len(programs)))
        self._members = [self._stack.enter_context(Contestant(program)) for program in programs]

    def ask(self, command: str, arguments: Sequence[Mapping[str, object]]) -> list[Answer]:
        """What each answers, given arguments of its own; raises ContestantFailed."""
        pairs = zip(self._members, arguments, strict=True)
        asked = [self._pool.submit(member.ask, command, **given) for member, given in pairs]
        return [each.result() for each in asked]

    def all(self, command: str, **arguments: object) -> list[Answer]:
        """What each answers, all given the same."""
        return self.ask(command, [arguments] * len(self._members))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def weavers(hosts: Sequence[str], prefixes: Sequence[Sequence[str]]) -> list[Program]:
    """Our members that listen at these addresses; prefixes begin their command lines."""
    env = environment(PROFILE_DEFAULT, os.environ)
    return [
        Program(f"member {i}", (*prefix, sys.executable, "-m", "benchmarks.weaver", host), env)
        for i, (host, prefix) in enumerate(zip(hosts, prefixes, strict=True))
    ]


def gloos(
    interpreter: str, prefixes: Sequence[Sequence[str]], interfaces: Sequence[str]
) -> list[Program]:
    """Gloo's ranks, each on a network interface."""
    return [
        Program(
            f"gloo {i}",
            (*prefix, interpreter, "-m", "benchmarks.gloo"),
            {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": interface},
        )
        for i, (prefix, interface) in enumerate(zip(prefixes, interfaces, strict=True))
    ]
