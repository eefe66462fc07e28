"""One run of the real floor, runner, coordinator and store among simulated workers: one seed."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from dataclasses import replace as changed
from datetime import timedelta
from pathlib import Path

import structlog

from gradloom.service.errors import WrongState
from gradloom.service.jobs.job import IncidentHappened, Job
from gradloom.service.jobs.spec import Resources
from gradloom.service.training import growth
from gradloom.service.training.surroundings import Surroundings
from tests.simulation.chance import Chance
from tests.simulation.clock import Clock
from tests.simulation.cluster import Cluster
from tests.simulation.fleet import PROFILE, Fleet
from tests.simulation.invariants import Witness
from tests.simulation.network import SERVICE, Network
from tests.simulation.reference import undisturbed
from tests.simulation.scenario import (
    TROUBLED_SECONDS,
    Fault,
    Scenario,
    Wanted,
    job_of,
    scenario_of,
)
from tests.simulation.service import Crash, Disk, Service, Store, Troubles

# All faults are over by then; what has not ended long after never will.
_CALM_AT = TROUBLED_SECONDS + 35.0
_PATIENCE = 2000.0
_STEPS = 2_000_000
# After the last job all its processes have ended by then.
_SWEPT = 60.0
# Turns that the service may take in one instant.
_MOST_TURNS = 1000


@dataclass(slots=True)
class Outcome:
    """What became of a seed: the first invariant that broke, if any, and what had happened."""

    seed: int
    broken: str
    told: list[str] = field(default_factory=list)
    seconds: float = 0.0
    states: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The seed, its faults with their times, and the first invariant broken."""
        return "\n".join([f"seed {self.seed}: {self.broken or 'sound'}", *self.told])


class Simulation:
    """A run: all of it follows from the seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.chance = Chance(seed)
        self.scenario: Scenario = scenario_of(self.chance)
        self.clock = Clock()
        self.witness = Witness(self.clock.monotonic)
        self.troubles = Troubles(self.chance, self._is_dying)
        self.troubles.crashes_left = self.scenario.crashes
        network = Network(self.clock, self.chance, self.scenario.latency)
        self.cluster = Cluster(self.clock, self.chance, network, self.scenario.nodes)
        self.cluster.strikes_left = self.scenario.strikes
        self.store = Store(self.clock, self.troubles, self._seen)
        self.service: Service | None = None
        self.logged: list[str] = []
        self._folder = folder
        self._around = Surroundings(
            store=self.store,
            fleet=self._fleet(),
            metrics=self.witness,  # type: ignore[arg-type]
            monotonic=self.clock.monotonic,
            now=self.clock.now,
            jobs_folder=folder,
            roots=("/data",),
            profile=PROFILE,
            segments=str(folder / "segment"),
        )

    def _fleet(self) -> Fleet:
        jobs = self.scenario.jobs
        self.fleet = Fleet(
            self.cluster,
            {job.id: (job.recipe, job.shard_seconds) for job in jobs},
            self.scenario.cpus,
            lambda _: self.service.heard() if self.service else None,
            is_encoded=self.scenario.is_encoded,
        )
        return self.fleet

    def _seen(self, before: Job, after: Job) -> None:
        self.witness.committed(before, after)
        for each in self.store.history(after.name, before.revision, 100):
            if isinstance(each.event, IncidentHappened):
                self.witness.incident(after, each.event)
                self.cluster.tell(f"{after.name} {each.event.reason}: {each.event.message}")
        if after.state is not before.state:
            self.cluster.tell(f"{after.name} {after.state} {after.reason}: {after.message}")

    def written(self, path: Path, content: bytes) -> None:
        """A file of a job is about to be put on disk."""
        names = {wanted.id: wanted.name for wanted in self.scenario.jobs}
        name = next(names[part] for part in path.parts if part in names)
        self.witness.file_written(name, content, self.store.get(name).receipt.roll_backs)

    # The run.

    def run(self) -> Outcome:
        """Runs to the end of all jobs."""
        for wanted in self.scenario.jobs:
            self.witness.expects(
                wanted.name, undisturbed(wanted.recipe, wanted.spec.training.on_non_finite)
            )
            self._plan(wanted)
        for fault in self.scenario.faults:
            self.clock.after(fault.at, lambda fault=fault: self._strike(fault))
        self.clock.after(_CALM_AT, self._calm)
        self._serve()
        self._go_on()
        self._judge()
        states = tuple(f"{job.state} {job.reason}" for job in self._jobs())
        return Outcome(self.seed, self.witness.broken, self.cluster.told, self.clock.time, states)

    def _jobs(self) -> list[Job]:
        return list(self.store.list(100))

    def _go_on(self) -> None:
        for _ in range(_STEPS):
            if self.witness.broken or self._is_over() or self.clock.time > _CALM_AT + _PATIENCE:
                return
            self._work()
            if not self.clock.step():
                return

    def _work(self) -> None:
        if self.service is None:
            return
        try:
            for _ in range(_MOST_TURNS):
                if not self.service.work():
                    return
            self.witness.complain("I14", "the service is busy without an end")
        except Crash as crash:
            self.cluster.tell(f"the service dies at {crash}")
            self._die(self.chance.between(0.1, 20.0))

    def _is_over(self) -> bool:
        jobs = self._jobs()
        all_submitted = len(jobs) == len(self.scenario.jobs)
        is_idle = self.service is not None and self.service.is_idle
        return all_submitted and is_idle and all(job.state.is_final for job in jobs)

    def _tick(self, service: Service) -> None:
        """Wakes the loop when the service has something to do."""
        if self.service is service:
            due = max(service.next_due - self.clock.time, 0.01)
            self.clock.after(due, lambda: self._tick(service))

    def _serve(self) -> None:
        self.cluster.service_is_dead = False
        self.service = Service(self.clock, self._around, self.troubles)
        self.witness.news()
        self._tick(self.service)

    def _is_dying(self) -> None:
        self.cluster.service_is_dead = True

    def _die(self, seconds: float) -> None:
        service, self.service = self.service, None
        if service is None:
            return
        self.cluster.service_is_dead = True
        for group in self.fleet.groups:
            if not group.is_closed:
                group.abandon()
        service.die()
        self.clock.after(seconds, self._serve)

    def _calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.chance.is_calm = True
        self.troubles.crashes_left = self.cluster.strikes_left = 0
        self.cluster.stores_struck = []
        self.cluster.tell("all is calm")
        self._watch()

    def _watch(self) -> None:
        self.witness.is_moving(self.store.unfinished())
        self.clock.after(10.0, self._watch)

    # Users.

    def _plan(self, wanted: Wanted) -> None:
        self.clock.after(wanted.submit_at, lambda: self._submit(wanted))
        if wanted.is_asked_twice:
            self.clock.after(
                wanted.submit_at + 5.0 * self.chance.random(), lambda: self._submit(wanted)
            )
        if wanted.resize_at is not None:
            self.clock.after(wanted.submit_at + wanted.resize_at, lambda: self._resize(wanted))
        if wanted.cancel_at is not None:
            self.clock.after(wanted.submit_at + wanted.cancel_at, lambda: self._cancel(wanted))

    def _submit(self, wanted: Wanted) -> None:
        job = job_of(wanted, self.clock.now())
        made = self.store.create(job, request_id=wanted.request_id, content=wanted.name)
        self.witness.check(made.uid == job.uid, "I05", f"{wanted.request_id} made two jobs")
        self.witness.check(
            len(self._jobs()) <= len(self.scenario.jobs), "I05", "a request made two jobs"
        )

    def _cancel(self, wanted: Wanted) -> None:
        self.witness.cancelled(wanted.name)
        self.cluster.tell(f"{wanted.name} is cancelled by its user")
        try:
            self.store.cancel(wanted.name)
        except WrongState:
            self.cluster.tell("too late")

    def _resize(self, wanted: Wanted) -> None:
        workers = min(wanted.resize_to, wanted.recipe.shards)
        self.cluster.tell(f"{wanted.name} is to have {workers} workers")

        def change(job: Job) -> Resources:
            return changed(job.spec.resources, workers=workers, min_workers=1, max_workers=0)

        try:
            self.store.change_resources(wanted.name, change)
        except WrongState:
            self.cluster.tell("too late")

    # Faults.

    def _strike(self, fault: Fault) -> None:
        STRIKES[fault.kind](self, fault)

    def _victim(self, fault: Fault):
        living = self.cluster.living()
        return living[fault.place % len(living)] if living else None

    def _kill(self, fault: Fault) -> None:
        if victim := self._victim(fault):
            self.cluster.kill(victim)

    def _kill_all(self, fault: Fault) -> None:
        for process in self.cluster.living():
            self.cluster.kill(process)

    def _freeze(self, fault: Fault) -> None:
        if victim := self._victim(fault):
            self.cluster.freeze(victim, fault.seconds)

    def _slow(self, fault: Fault) -> None:
        if victim := self._victim(fault):
            self.cluster.tell(f"pid {victim.pid} is slow for {fault.seconds:.1f} s")
            victim.slowness = 2.0 + fault.place % 20
            self.clock.after(fault.seconds, lambda: setattr(victim, "slowness", 1.0))

    def _cut(self, fault: Fault, *, both: bool, service: bool = False) -> None:
        names = list(self.cluster.nodes)
        one = names[fault.place % len(names)]
        others = [name for name in names if name != one]
        other = SERVICE if service or not others else others[fault.place // 7 % len(others)]
        self.cluster.cut(one, other, fault.seconds)
        if both:
            self.cluster.cut(other, one, fault.seconds)

    def _lose(self, fault: Fault) -> None:
        names = list(self.cluster.nodes)
        self.cluster.lose(names[fault.place % len(names)], fault.seconds)

    def _crash(self, fault: Fault) -> None:
        if self.service:
            self.cluster.tell("the service dies")
            self._die(min(fault.seconds, 20.0))

    def _drain(self, fault: Fault) -> None:
        service = self.service
        if service:
            self.cluster.tell("the service is stopped")
            service.drain()
            self._await_the_end(service, self.clock.time + 25.0)

    def _await_the_end(self, service: Service, until: float) -> None:
        if self.service is not service:
            return
        if service.is_idle or self.clock.time >= until:
            self._die(0.5)
        else:
            self.clock.after(0.1, lambda: self._await_the_end(service, until))

    def _store_away(self, fault: Fault) -> None:
        self.cluster.tell(f"the store is away for {fault.seconds:.1f} s")
        self.troubles.store_is_away = True
        self.clock.after(fault.seconds, lambda: setattr(self.troubles, "store_is_away", False))

    def _disk_full(self, fault: Fault) -> None:
        self.cluster.tell(f"the disk is full for {fault.seconds:.1f} s")
        self.troubles.disk_fails = True
        self.clock.after(fault.seconds, lambda: setattr(self.troubles, "disk_fails", False))

    def _damage(self, fault: Fault) -> None:
        for job in self.store.unfinished():
            for stored in self.store.checkpoints(job.name)[:1]:
                path = Path(stored.path)
                if path.is_file():
                    self.cluster.tell(f"{path.name} of {job.name} is damaged")
                    content = bytearray(path.read_bytes())
                    content[fault.place % len(content)] ^= 1
                    path.write_bytes(content)

    def _jump(self, fault: Fault) -> None:
        self.cluster.tell("the clock jumps by a day")
        self.clock.jump += timedelta(days=1 if fault.place % 2 else -1)

    # The end.

    def _judge(self) -> None:
        if self.witness.broken:
            return
        for complaint in self.cluster.told:
            if "BUG" in complaint:
                self.witness.complain("I03", complaint)
        for logged in self.logged:
            self.witness.complain("I07", logged)
        for wanted in self.scenario.jobs:
            folder = self._folder / wanted.id
            self.witness.ended(self.store, wanted.name, folder, self.cluster.deaths)
        self._leaves_nothing()

    def _leaves_nothing(self) -> None:
        self.service = None
        until = self.clock.time + _SWEPT
        while self.clock.time < until and self.clock.step():
            pass
        living = [process.pid for process in self.cluster.living()]
        self.witness.check(not living, "I13", f"processes {living} outlive all jobs")
        is_open = [group.job for group in self.fleet.groups if not group.is_closed]
        self.witness.check(not is_open, "I13", f"groups of {is_open} are never closed")


STRIKES: dict[str, Callable[[Simulation, Fault], None]] = {
    "kill": Simulation._kill,
    "kill all": Simulation._kill_all,
    "freeze": Simulation._freeze,
    "freeze in a store": lambda run, fault: run.cluster.stores_struck.append(20.0 + fault.seconds),
    "slow": Simulation._slow,
    "cut one way": lambda run, fault: run._cut(fault, both=False),
    "cut both ways": lambda run, fault: run._cut(fault, both=True),
    "cut off the service": lambda run, fault: run._cut(fault, both=True, service=True),
    "lose node": Simulation._lose,
    "crash": Simulation._crash,
    "drain": Simulation._drain,
    "store away": Simulation._store_away,
    "disk full": Simulation._disk_full,
    "damage a checkpoint": Simulation._damage,
    "clock jump": Simulation._jump,
}


def simulate(seed: int) -> Outcome:
    """The run of a seed."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=shared if shared.is_dir() else None))
    try:
        simulation = Simulation(seed, folder)
        disk = Disk(simulation.troubles, simulation.written)
        with disk, Ear(simulation.logged), Leaks():
            return simulation.run()
    finally:
        shutil.rmtree(folder)


class Leaks:
    """So few rounds tell that a worker's memory grows that short jobs have some replaced."""

    def __enter__(self) -> "Leaks":
        self._before, growth.ROUNDS = growth.ROUNDS, 4
        return self

    def __exit__(self, *_: object) -> None:
        growth.ROUNDS = self._before


class Ear:
    """Hears what the service would log: nothing of it is printed, bugs are kept."""

    def __init__(self, logged: list[str]) -> None:
        self._logged = logged

    def __enter__(self) -> "Ear":
        self._before = structlog.get_config()
        structlog.configure(
            processors=[structlog.processors.format_exc_info, self._hear],
            cache_logger_on_first_use=False,
        )
        return self

    def __exit__(self, *_: object) -> None:
        structlog.configure(**self._before)

    def _hear(self, _logger: object, method: str, event: dict[str, object]) -> dict[str, object]:
        if method in {"exception", "error"}:
            self._logged.append(f"{event.get('event')}: {event.get('exception')}")
        raise structlog.DropEvent
