"""Who trains together: who may, the formation they are in, and what each of them is sent. Pure."""

from collections.abc import Mapping, Sequence

from gradloom.service.training.course import Course
from gradloom.service.training.crew import (
    Crew,
    cells_of,
    in_turn,
    leaders,
    members_of,
    shared_out,
)
from gradloom.service.training.events import Form, Send, WorkerAnswered
from gradloom.service.training.pace import is_out_of_date
from gradloom.service.training.shares import Speeds
from gradloom.worker.messages import Formation, Member, Train, Work


class Formations:
    """The newest formation of a run, and what is known of its members for the next one.

    It stands until a member is lost or a round in it breaks. Members enter it with the first round
    of training; other work each of them does by itself. key, segment and certificate are those of
    all formations.
    """

    def __init__(
        self, course: Course, crew: Crew, *, key: bytes, segment: str, certificate: bytes
    ) -> None:
        self._course = course
        self._crew = crew
        self._key = key
        self._segment = segment
        self._certificate = certificate
        self._newest: Formation | None = None
        self._stands = False
        self._is_entered = False
        self._speeds = Speeds()
        self._fence: dict[str, tuple[int, ...]] = {}
        self.cells_are_shared = True
        self.snapshot_step: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether there ever was one."""
        return self._newest is not None

    @property
    def newest(self) -> Formation:
        """That of the round under way, if there is a round."""
        assert self._newest is not None, "a round has a formation"
        return self._newest

    @property
    def members(self) -> tuple[Member, ...]:
        """Its members that are still there."""
        members = self._newest.members if self._newest else ()
        return tuple(member for member in members if member.worker in self._crew)

    @property
    def active(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(member.worker for member in self.members)

    def has_broken(self) -> None:
        """A round in it broke: all meet anew."""
        self._stands = False

    def lost(self, worker: int) -> None:
        """A worker is gone."""
        if self._newest and any(member.worker == worker for member in self._newest.members):
            self._stands = False

    def fence_off(self, node: str, process: int) -> None:
        """A node's workers make sure that a process has ended, before they share memory anew."""
        self._fence[node] = (*self._fence.get(node, ()), process)

    def trained(self, words: Sequence[WorkerAnswered], steps: int, *, is_first: bool) -> None:
        """All members made so many steps; how fast each one is, but for those of a first step."""
        self._fence = {}
        shards = {member.worker: member.last - member.first for member in self.members}
        for word in words:
            if steps and shards.get(word.worker) and not is_first:
                cost = word.compute_seconds / steps / shards[word.worker]
                self._speeds = self._speeds.after(word.worker, cost)

    # Who may be in the next one.

    def eligible(self, step: int) -> list[int]:
        """Workers that can be members now: they hold the state, or can come by it."""
        ready = self._crew.ready()
        holders = self._crew.holders(ready)
        if step in (self._course.start_step, self.snapshot_step):
            return list(ready[: self._most_members])
        nodes = {self._crew[n].node for n in holders} if self.cells_are_shared else set()
        able = [n for n in ready if n in holders or self._crew[n].node in nodes]
        return able[: self._most_members]

    def someone_waits(self, step: int) -> bool:
        """Whether a worker could be a member if it had the state."""
        return len(self.eligible(step)) < min(len(self._crew.ready()), self._most_members)

    def able(self, step: int) -> tuple[int, ...]:
        """Workers that stand at the step, or can by themselves, in no formation."""
        return self._crew.holders(self._crew) or tuple(self.eligible(step))

    @property
    def _most_members(self) -> int:
        """A member without a shard only keeps the state, for one that it is to relieve."""
        return self._course.shards + len(self._crew.reliefs())

    def form(self, workers: Sequence[int], number: int, patience: float) -> list[Form]:
        """A new formation, where the one there is does not stand or would do less well."""
        old = self._newest.members if self._newest else ()
        cells = cells_of(
            self._crew, workers, {m.worker: m.cell for m in old}, are_shared=self.cells_are_shared
        )
        counts = {m.worker: m.last - m.first for m in old}
        shares = shared_out(self._course.shards, in_turn(cells), self._speeds, counts)
        members = members_of(self._crew, cells, shares)
        if self._may_stay(members, patience):
            return []
        self._newest = Formation(
            number, members, self._key, self._segment, patience, self._certificate
        )
        self._stands, self._is_entered = True, False
        return [Form(self._newest)]

    def _may_stay(self, members: tuple[Member, ...], patience: float) -> bool:
        """Whether the formation there is does as well as one of these members."""
        old = self._newest
        if old is None or not self._stands or old.members != members:
            return False
        return not is_out_of_date(old.patience, patience)

    # What they are sent.

    def sends(self, number: int, step: int, parts: Mapping[int, Work]) -> list[Send]:
        """Gives workers their parts of a round at a step."""
        sends = [self._send(worker, number, step, work) for worker, work in parts.items()]
        self._is_entered |= any(isinstance(work, Train) for work in parts.values())
        return sends

    def _send(self, worker: int, number: int, step: int, work: Work) -> Send:
        enters = isinstance(work, Train) and not self._is_entered
        fence = self._fence.get(self._crew[worker].node, ()) if enters else ()
        if isinstance(work, Train):
            load = enters and self._cell_lacks_state(worker, step)
        else:
            load = self._lacks_state(worker, step)
        self._crew[worker].has_entered |= enters
        return Send(worker, number, step, self.newest, work, load, fence)

    def _lacks_state(self, worker: int, step: int) -> bool:
        """Whether the worker neither holds the state nor begins with it.

        What a worker was started with it has only until it has entered a formation.
        """
        begins = step == self._course.start_step and not self._crew[worker].has_entered
        return not begins and not self._crew[worker].holds

    def _cell_lacks_state(self, worker: int, step: int) -> bool:
        """Whether the worker leads a cell of which no member holds the state or begins with it."""
        if not self._lacks_state(worker, step):
            return False
        cells = {member.worker: member.cell for member in self.newest.members}
        cell = cells[worker]
        holders = self._crew.holders([w for w, its in cells.items() if its == cell])
        return leaders(self.newest)[cell] == worker and not holders
