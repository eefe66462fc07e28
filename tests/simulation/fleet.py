"""A fleet of simulated workers: orders and answers take time, come twice, late, or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path

from gradloom.service.fleet.group import Alive, Gone, WorkerEvent, event_of
from gradloom.service.jobs.states import Reason
from gradloom.worker.beats import SECONDS as BEAT_SECONDS
from gradloom.worker.messages import Answer, Order, Task, decode, encode
from gradloom.worker.versions import versions
from tests.simulation.arithmetic import Sum
from tests.simulation.cluster import ORPHANED_AFTER, Cluster
from tests.simulation.network import SERVICE
from tests.simulation.process import Process
from tests.simulation.worker import Surface, Worker

PROFILE = "x86-64-v3"
SELFTEST = "5e1f"
SWEPT_AFTER = 40.0


class Seat:
    """A worker's place in a group: its process once it is started, until it is stopped."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.worker: Worker | None = None
        self.is_stopped = False
        self.is_gone = False
        self.newest = 0.0


class Group:
    """The workers of one job's run; see WorkerGroup."""

    def __init__(
        self,
        job: str,
        cluster: Cluster,
        recipe: Sum,
        shard_seconds: float,
        wake: Callable[[], None],
        *,
        is_encoded: bool,
    ) -> None:
        self.job = job
        self.is_closed = False
        self.most = 0
        self._cluster = cluster
        self._clock, self._chance = cluster.clock, cluster.chance
        self._wake = wake
        self._is_encoded = is_encoded
        self._events: list[WorkerEvent] = []
        self._seats: dict[int, Seat] = {}
        self._step_seconds = recipe.shards * shard_seconds
        self._surface = Surface(
            cluster.strikes,
            cluster.meeting,
            cluster.fence,
            cluster.has_room,
            recipe,
            shard_seconds,
        )

    @property
    def in_use(self) -> int:
        """Workers that are started and not stopped."""
        return sum(not seat.is_stopped and not seat.is_gone for seat in self._seats.values())

    def start(self, worker: int, task: Task, state: bytes | None) -> None:
        """See WorkerGroup."""
        if worker in self._seats:
            self._cluster.tell(f"BUG worker {worker} of {self.job} is started twice")
        seat = self._seats[worker] = Seat()
        self.most = max(self.most, self.in_use)
        nodes = [n for n in self._cluster.living_nodes() if n not in self._cluster.avoided]
        if not nodes or self._chance.fires("fleet.start", 0.1):
            self._cluster.deaths += 1
            self._clock.after(0.2, lambda: self._gone(worker, Reason.WORKER_START_FAILED))
            return
        process = seat.process = self._cluster.spawn(self._chance.choice(nodes))
        process.on_death.append(lambda: self._died(worker))
        seat.worker = Worker(
            worker, process, self._surface, task, state, lambda answer: self._said(worker, answer)
        )
        slow = self._chance.fires("fleet.slow_start", 0.1)
        seconds = self._chance.between(0.1, 70.0 if slow else 3.0)
        process.run(seat.worker.program(seconds, _facts(process)))
        self._clock.after(BEAT_SECONDS, lambda: self._beat(worker))

    def order(self, worker: int, order: Order) -> None:
        """See WorkerGroup."""
        seat = self._seats.get(worker)
        if seat is None or seat.process is None or seat.worker is None or seat.is_stopped:
            return
        process, mail = seat.process, seat.worker.mail
        delay = self._cluster.network.delay(SERVICE, process.node)
        if delay is None:
            self._lost_contact(worker)
        else:
            self._clock.after(delay, lambda: process.when_awake(lambda: mail.put(order)))

    def stop(self, worker: int) -> bool:
        """See WorkerGroup."""
        seat = self._seats.get(worker)
        if seat is None or seat.is_stopped:
            return True
        seat.is_stopped = True
        return self._end(seat)

    def _end(self, seat: Seat) -> bool:
        process = seat.process
        if process is None or not process.is_alive:
            return True
        is_cut = self._cluster.network.is_cut(SERVICE, process.node)
        is_stuck = process.is_stuck and process.is_frozen
        if is_stuck:
            # It wakes while others already go on with the memory it was about to store to.
            self._clock.after(10.0 * self._step_seconds * self._chance.random(), process.thaw)
        if is_cut or is_stuck or self._chance.fires("fleet.stop", 0.1):
            self._orphan(process)
            return False
        process.kill()
        return True

    def _orphan(self, process: Process) -> None:
        """Nobody speaks to it any more: it exits by itself once it is awake, or is swept away."""
        after = ORPHANED_AFTER * self._chance.random()
        self._clock.after(after, lambda: process.when_awake(process.kill))
        self._clock.after(SWEPT_AFTER, process.kill)

    def poll(self, timeout: float) -> tuple[WorkerEvent, ...]:
        """See WorkerGroup; gives what there is, for time passes outside."""
        events, self._events = tuple(self._events), []
        return events

    @property
    def has_news(self) -> bool:
        """Whether poll would give anything."""
        return bool(self._events)

    def close(self) -> None:
        """See WorkerGroup."""
        if self._cluster.service_is_dead:
            self.abandon()
        elif not self.is_closed:
            self.is_closed = True
            for seat in self._seats.values():
                if not seat.is_stopped:
                    seat.is_stopped = True
                    self._end(seat)

    def abandon(self) -> None:
        """The service is dead: its workers are left to themselves."""
        if self.is_closed:
            return
        self.is_closed = True
        for seat in self._seats.values():
            seat.is_stopped = True
            if seat.process:
                self._orphan(seat.process)

    # What workers say.

    def _beat(self, worker: int) -> None:
        """A thread of the worker's says that it lives, while it is at work and not frozen."""
        seat = self._seats[worker]
        if self.is_closed or seat.is_stopped or not (seat.process and seat.process.is_alive):
            return
        process, beats = seat.process, seat.worker
        assert beats is not None
        self._clock.after(BEAT_SECONDS, lambda: process.when_awake(lambda: self._beat(worker)))
        delay = self._cluster.network.delay(process.node, SERVICE)
        if beats.is_at_work and not process.is_frozen and delay is not None:
            event = Alive(worker, beats.beat())
            self._clock.after(delay, lambda: self._hear(worker, event))

    def _said(self, worker: int, answer: Answer) -> None:
        seat = self._seats[worker]
        assert seat.process is not None
        delay = self._cluster.network.delay(seat.process.node, SERVICE)
        if delay is None:
            self._lost_contact(worker)
            return
        if self._chance.fires("answer.late", 0.05):
            delay += self._chance.between(0.01, 8.0)
        seat.newest = max(seat.newest, self._clock.time + delay)
        event = self._event(worker, answer)
        seat.is_gone |= isinstance(event, Gone)
        self._clock.after(seat.newest - self._clock.time, lambda: self._hear(worker, event))
        if self._chance.fires("answer.twice", 0.1):
            again = seat.newest - self._clock.time + self._chance.between(0.001, 10.0)
            self._clock.after(again, lambda: self._hear(worker, event))

    def _event(self, worker: int, answer: Answer) -> WorkerEvent:
        if not self._is_encoded:
            return event_of(worker, answer, b"")
        encoded = encode(answer)
        return event_of(worker, decode(encoded), encoded)

    def _hear(self, worker: int, event: WorkerEvent) -> None:
        if not self._seats[worker].is_stopped and not self.is_closed:
            self._events.append(event)
            self._wake()

    def _died(self, worker: int) -> None:
        seat = self._seats[worker]
        node = self._cluster.nodes[seat.process.node] if seat.process else None
        if node and node.lost_until > self._clock.time:
            self._lost_contact(worker)
            return
        after = max(seat.newest - self._clock.time, 0.0) + self._chance.between(0.001, 0.1)
        if self._chance.fires("fleet.slow_notice"):
            after += self._chance.between(0.1, 5.0)
        self._clock.after(after, lambda: self._gone(worker, Reason.WORKER_LOST))

    def _lost_contact(self, worker: int) -> None:
        after = self._chance.uniform(1.0, 5.0)
        self._cluster.deaths += 1
        self._clock.after(after, lambda: self._gone(worker, Reason.NODE_LOST))

    def _gone(self, worker: int, reason: Reason) -> None:
        seat = self._seats[worker]
        if not seat.is_gone:
            seat.is_gone = True
            self._hear(worker, Gone(worker, reason, f"worker {worker} is gone: {reason}"))
            if seat.process and seat.process.is_alive:
                self._orphan(seat.process)


def _facts(process: Process) -> dict[str, object]:
    return {
        "node": process.node,
        "address": f"{process.node}:{process.pid}",
        "pid": process.pid,
        "profile": PROFILE,
        "selftest_sha256": SELFTEST,
        "baseline": None,
        "shm_free": 1 << 30,
        "versions": versions(),
    }


class Fleet:
    """Where simulated workers run; see gradloom.service.fleet.group.Fleet."""

    trouble = ""

    def __init__(
        self,
        cluster: Cluster,
        recipes: Mapping[str, tuple[Sum, float]],
        cpus: int,
        wake: Callable[[str], None],
        *,
        is_encoded: bool,
    ) -> None:
        """recipes and seconds a shard by job id."""
        self.cpus = cpus
        self.may_share = True
        self.groups: list[Group] = []
        self._cluster = cluster
        self._recipes = recipes
        self._wake = wake
        self._is_encoded = is_encoded

    @property
    def nodes(self) -> frozenset[str]:
        """See Fleet."""
        return frozenset(self._cluster.living_nodes())

    def avoid(self, nodes: frozenset[str]) -> None:
        """See Fleet."""
        self._cluster.avoided = nodes

    def lacks(self, workers: int) -> str:
        """See Fleet."""
        return ""

    def group(self, name: str, workers: int, log_folder: Path, profile: str) -> Group:
        """See Fleet."""
        recipe, seconds = self._recipes[name]
        if any(group.job == name and not group.is_closed for group in self.groups):
            self._cluster.tell(f"BUG I03: {name} has two groups at once")
        group = Group(
            name,
            self._cluster,
            recipe,
            seconds,
            lambda: self._wake(name),
            is_encoded=self._is_encoded,
        )
        self.groups.append(group)
        return group

    def close(self) -> None:
        """See Fleet."""
