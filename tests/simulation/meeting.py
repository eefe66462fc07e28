"""A formation of simulated workers: who has come to an agreement, and who hears of it.

As in the real exchange a member talks to its cell's leader, leaders to each other. Whoever waits
says so; whoever says nothing for longer than the patience is given up as frozen. Who sees the
formation break tells those it talks to, unless that word is lost: then they see it gone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from gradloom.worker.exchange.exchange import Broken, NoRoom, Why
from gradloom.worker.messages import Formation, Member
from tests.simulation.chance import Chance
from tests.simulation.clock import Clock
from tests.simulation.memory import Memory
from tests.simulation.network import Network
from tests.simulation.process import Process

BEAT = 0.25
# A leader's patience with other leaders, and that of those who are led, beyond the formation's.
_FOR_LEADERS = 2 * BEAT
_FOR_OWN_LEADER = 4 * BEAT
# No wait is longer than the patience with whoever is waited for, and with whom that one waits for.
MOST_BEYOND_PATIENCE = 8.0

Notes = tuple[object, ...]


@dataclass(slots=True)
class Book:
    """What a cell's leader has: notes of its own members, and those of whole cells."""

    own: dict[int, dict[int, object]] = field(default_factory=dict)
    cells: dict[int, dict[int, dict[int, object]]] = field(default_factory=dict)


class End:
    """One member's end of a meeting, and what it waits for."""

    def __init__(self, meeting: "Meeting", member: Member, process: Process) -> None:
        self.meeting = meeting
        self.member = member
        self.process = process
        self.count = 0
        self.note: object = None
        self.is_waiting = False
        self.since = 0.0
        self.rumour: Exception | None = None
        self.is_closed = False

    @property
    def worker(self) -> int:
        """The member's number."""
        return self.member.worker

    def agree(self, note: object) -> "End":
        """What a program yields to wait until every member has come here."""
        self.note = note
        return self

    def begin(self) -> None:
        """See Wait."""
        self.count += 1
        self.is_waiting, self.since = True, self.meeting.clock.time
        self.meeting.come(self)

    def agreed(self, count: int, notes: Notes) -> None:
        """The leader says that all have come."""
        if self.is_waiting and self.count == count and not self.is_closed:
            self.is_waiting = False
            self.process.resume(notes)

    def hear(self, rumour: Exception) -> None:
        """The formation is broken, says somebody or the kernel."""
        if self.is_closed:
            return
        if self.is_waiting:
            self.process.when_awake(lambda: self.fall(rumour))
        elif self.rumour is None:
            self.rumour = rumour

    def fall(self, why: Exception) -> None:
        """Gives the formation up, and tells those it talks to."""
        if self.is_closed:
            return
        self.close(why)
        if self.is_waiting:
            self.is_waiting = False
            self.process.resume(None, why)

    def close(self, why: Exception | None = None) -> None:
        """Lets go of the others."""
        if not self.is_closed:
            self.is_closed = True
            self.meeting.left(self, why)


class Meeting:
    """The members of one formation, as far as they have come."""

    def __init__(
        self,
        formation: Formation,
        clock: Clock,
        network: Network,
        chance: Chance,
        may_strike: Callable[[str, float], bool],
        process_of: Callable[[int], Process | None],
    ) -> None:
        self.clock = clock
        self.formation = formation
        self.memories: dict[int, Memory] = {}
        self._network = network
        self._chance = chance
        self._process_of = process_of
        self._may_strike = may_strike
        self._ends: dict[int, End] = {}
        self._cells: dict[int, list[Member]] = {}
        for member in formation.members:
            self._cells.setdefault(member.cell, []).append(member)
        self._members = {member.worker: member for member in formation.members}
        self._books = {cell: Book() for cell in self._cells}
        self._is_watched = False

    def leader(self, cell: int) -> int:
        """The lowest worker of a cell."""
        return self._cells[cell][0].worker

    def cell_of(self, worker: int) -> list[Member]:
        """The members that share memory with one, itself too."""
        return self._cells[self._members[worker].cell]

    def enter(self, worker: int, process: Process) -> End:
        """A member's end. Peers that are dead already are heard of at the first agreement."""
        end = self._ends[worker] = End(self, self._members[worker], process)
        process.on_death.append(lambda: self._died(end))
        for other in self._linked(worker):
            peer = self._process_of(other)
            if peer is None or not peer.is_alive:
                end.rumour = end.rumour or _lost(other)
        return end

    def _linked(self, worker: int) -> list[int]:
        """Those a member talks to."""
        cell = self._members[worker].cell
        if self.leader(cell) != worker:
            return [self.leader(cell)]
        own = [member.worker for member in self._cells[cell][1:]]
        return own + [self.leader(other) for other in self._cells if other != cell]

    # An agreement.

    def come(self, end: End) -> None:
        """A member has come to its next agreement."""
        self._watch()
        cell = end.member.cell
        notes = self._books[cell].own.setdefault(end.count, {})
        notes[end.worker] = end.note
        if len(notes) == len(self._cells[cell]):
            self._do_as_leader(cell, lambda: self._send(cell, end.count))
        if end.rumour is not None and end.is_waiting and not self._is_whole(cell, end.count):
            self.clock.after(0.0, lambda: end.fall(end.rumour or _lost(end.worker)))

    def _is_whole(self, cell: int, count: int) -> bool:
        return len(self._books[cell].cells.get(count, ())) == len(self._cells)

    def _do_as_leader(self, cell: int, action: Callable[[], None]) -> None:
        end = self._ends.get(self.leader(cell))
        if end is None:
            # The kernel keeps what comes for one who listens and has not entered yet.
            action()
        else:
            end.process.when_awake(action)

    def _send(self, cell: int, count: int) -> None:
        """The leader of a cell that has come as a whole tells all leaders, itself too."""
        notes = self._books[cell].own[count]
        if self._ends[self.leader(cell)].is_closed:
            return
        for other in self._cells:
            delay = self._delay(self.leader(cell), self.leader(other))
            if delay is None:
                self._severed(self.leader(cell), self.leader(other))
            elif other == cell:
                self._deliver(other, cell, count, notes)
            else:
                self.clock.after(
                    delay,
                    lambda other=other: self._do_as_leader(
                        other, lambda: self._deliver(other, cell, count, notes)
                    ),
                )

    def _deliver(self, to: int, cell: int, count: int, notes: dict[int, object]) -> None:
        cells = self._books[to].cells.setdefault(count, {})
        cells[cell] = notes
        if len(cells) == len(self._cells):
            self._release(
                to, count, {w: note for each in cells.values() for w, note in each.items()}
            )

    def _release(self, cell: int, count: int, notes: dict[int, object]) -> None:
        """A leader tells those it leads, one after the other, and may die in between."""
        leader = self._ends[self.leader(cell)]
        if leader.is_closed:
            return
        ordered = tuple(notes[member.worker] for member in self.formation.members)
        told = [member.worker for member in self._cells[cell]][::-1]
        if len(told) > 1 and self._may_strike("exchange.release", 0.2):
            told = told[: self._chance.randrange(len(told))]
            self.clock.after(0.0, leader.process.kill)
        for worker in told:
            end = self._ends[worker]
            self.clock.after(
                2e-5 * self._chance.random(), lambda end=end: end.agreed(count, ordered)
            )

    # The end of a meeting.

    def _delay(self, sender: int, receiver: int) -> float | None:
        one, other = self._node(sender), self._node(receiver)
        return self._network.delay(one, other)

    def _node(self, worker: int) -> str:
        process = self._process_of(worker)
        return process.node if process else ""

    def left(self, end: End, why: Exception | None) -> None:
        """A member let go: those it talks to hear why, or see it gone."""
        for other in self._linked(end.worker):
            echo = _lost(end.worker)
            told = echo if why is None or self._chance.fires("exchange.farewell") else why
            if isinstance(told, NoRoom) and self._members[other].cell != end.member.cell:
                told = echo
            self._tell(end.worker, other, told)

    def _died(self, end: End) -> None:
        if end.is_closed:
            return
        end.is_closed = True
        for other in self._linked(end.worker):
            self._tell(end.worker, other, _lost(end.worker))

    def _tell(self, worker: int, other: int, why: Exception) -> None:
        delay = self._delay(worker, other)
        end = self._ends.get(other)
        if end is None:
            return
        if delay is None:
            self._unreachable(end, worker)
        else:
            self.clock.after(delay + 1e-4, lambda: end.hear(why))

    def _severed(self, worker: int, other: int) -> None:
        """A connection between leaders ends; each side notices by itself."""
        for one, beyond in ((worker, other), (other, worker)):
            if one in self._ends:
                self._unreachable(self._ends[one], beyond)

    def _unreachable(self, end: End, other: int) -> None:
        message = f"worker {other} cannot be reached by worker {end.worker}"
        why = Broken(other, Why.UNREACHABLE, message)
        self.clock.after(self._network.until_noticed(), lambda: end.hear(why))

    def cut(self, one: str, other: str) -> None:
        """The network between two nodes is cut for longer than the kernel waits."""
        leaders = [self.leader(cell) for cell in self._cells]
        for here in leaders:
            for there in leaders:
                if self._node(here) == one and self._node(there) == other:
                    self._severed(here, there)

    # Patience.

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self.clock.after(BEAT, self._look)

    def _look(self) -> None:
        """Every member that waits looks at those it waits for."""
        self._is_watched = False
        waiting = [end for end in self._ends.values() if end.is_waiting and not end.is_closed]
        for end in waiting:
            if end.process.is_alive and not end.process.is_frozen:
                self._judge(end)
        if waiting:
            self._watch()

    def _judge(self, end: End) -> None:
        now = self.clock.time
        for other, patience in self._awaited(end):
            if now - self._newest_sign(end, other) > patience:
                message = f"worker {other} said nothing to worker {end.worker} for {patience:.1f} s"
                end.fall(Broken(other, Why.FROZEN, message))
                return

    def _newest_sign(self, end: End, other: int) -> float:
        """When one that is waited for was last heard of."""
        peer = self._ends.get(other)
        if peer is None or peer.is_closed:
            return end.since
        if peer.is_waiting and not peer.process.is_frozen:
            return self.clock.time
        return max(end.since, peer.process.last_sign)

    def _awaited(self, end: End) -> list[tuple[int, float]]:
        """Those whose word is missing, with the patience there is for each."""
        patience, cell = self.formation.patience, end.member.cell
        if self.leader(cell) != end.worker:
            return [(self.leader(cell), patience + _FOR_OWN_LEADER)]
        book = self._books[cell]
        own = book.own.get(end.count, {})
        missing = [(m.worker, patience) for m in self._cells[cell] if m.worker not in own]
        cells = book.cells.get(end.count, {})
        return missing + [
            (self.leader(other), patience + _FOR_LEADERS)
            for other in self._cells
            if other != cell and other not in cells
        ]


def _lost(worker: int) -> Broken:
    return Broken(worker, Why.LOST, f"worker {worker} closed its connection")
