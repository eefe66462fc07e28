"""Jobs and faults against one backend: keeps clients coming and lets the nemesis strike."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.client import JobClient
from benchmarks.chaos.generator import Moment, Wanted
from benchmarks.chaos.history import History, Seen
from benchmarks.chaos.nemesis import Means, Nemesis
from benchmarks.chaos.site import Site

_BEAT_SECONDS = 0.02
_TOLD_EVERY_SECONDS = 15.0
# Faults that jobs begun so far may have met, over what they are to meet in the end.
_SHARE = 1.3


@dataclass(frozen=True, slots=True)
class Goal:
    """When it is enough: so many faults in so many jobs, or so many seconds."""

    faults: int
    jobs: int
    seconds: float


@dataclass(slots=True)
class Arena:
    """One site under fire."""

    site: Site
    history: History
    folder: Path
    moments: Iterator[Moment]
    wanted: Iterator[Wanted]
    goal: Goal
    at_once: int
    patience: float
    tell: Callable[[str], None]
    means: Means
    clients: list[JobClient] = field(default_factory=list)

    def fight(self) -> Nemesis:
        """Until the goal is reached and every job has ended; the service is up then."""
        with self.site.client() as client:
            nemesis = Nemesis(self.site, self.history, client, self._have_progressed, self.means)
            begun = told = time.monotonic()
            strike_at, moment = begun, next(self.moments)
            while not self._is_enough(nemesis, time.monotonic() - begun):
                self._keep_coming()
                nemesis.tend()
                is_due = time.monotonic() >= strike_at + moment.pause
                if is_due and self._may_strike(nemesis.faults):
                    nemesis.strike(moment.faults)
                    strike_at, moment = time.monotonic(), next(self.moments)
                if time.monotonic() > told + _TOLD_EVERY_SECONDS:
                    told = time.monotonic()
                    self.tell(self._words(nemesis))
                time.sleep(_BEAT_SECONDS)
            self._await_all(nemesis)
        return nemesis

    @property
    def seen(self) -> list[Seen]:
        """What all clients saw."""
        return [client.seen for client in self.clients]

    def _may_strike(self, faults: int) -> bool:
        """Whether jobs have had their share of faults; without it none ends on a busy machine."""
        share = _SHARE * self.goal.faults / self.goal.jobs
        return faults < share * len(self.clients)

    def _have_progressed(self, since: float) -> bool:
        alive = [client for client in self.clients if client.is_alive()]
        return bool(alive) and all(client.progressed_at > since for client in alive)

    def _is_enough(self, nemesis: Nemesis, seconds: float) -> bool:
        reached = nemesis.faults >= self.goal.faults and len(self.clients) >= self.goal.jobs
        return reached or seconds > self.goal.seconds

    def _keep_coming(self) -> None:
        if sum(client.is_alive() for client in self.clients) < self.at_once:
            client = JobClient(
                self.site, next(self.wanted), self.history, self.folder, self.patience
            )
            self.clients.append(client)
            client.start()

    def _await_all(self, nemesis: Nemesis) -> None:
        nemesis.finish()
        for client in self.clients:
            client.join()
        nemesis.finish()

    def _words(self, nemesis: Nemesis) -> str:
        ended = sum(not client.is_alive() for client in self.clients)
        bad = sum(bool(seen.hang or seen.error) for seen in self.seen)
        words = f"{nemesis.faults} faults, {ended} of {len(self.clients)} jobs ended"
        return f"{words}, {bad} of them badly" if bad else words


@contextmanager
def up(site: Site) -> Iterator[Site]:
    """Starts the service of a site and ends it, should it be up, afterwards."""
    site.start()
    try:
        yield site
    finally:
        if site.is_up:
            site.terminate()
