"""A simulated worker: what worker.server and worker.lockstep do, with hashes for arithmetic.

It obeys one order after the other. Between any two things it does it may be killed or frozen, and
a store to memory that others share takes effect whenever it is made.
"""

import json
import struct
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from gradloom.service.training.progress import PHASES
from gradloom.worker.exchange.exchange import Broken, NoRoom
from gradloom.worker.exchange.tree import Node, cover, fold
from gradloom.worker.messages import (
    Answer,
    AnswerKind,
    Content,
    Evaluate,
    Formation,
    Locate,
    Order,
    Snapshot,
    Task,
    Train,
    Verify,
)
from tests.simulation.arithmetic import BLOCKS, Blocks, Sum, digest_of, loss_of
from tests.simulation.meeting import End, Meeting
from tests.simulation.memory import Memory, Standing, State
from tests.simulation.process import Process, Wait

_LENGTH = struct.Struct("<Q")

# What a part of a worker's program yields, and what comes of it.
Doing = Generator[float | Wait, Any, Any]


@dataclass(frozen=True, slots=True)
class Holding:
    """The memory of a member and the cell it belongs to."""

    memory: Memory
    segment: str
    cell: int
    is_shared: bool


class Mail:
    """Orders that have come, for one process that waits for them."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._orders: deque[Order] = deque()
        self._is_waited_for = False

    def put(self, order: Order) -> None:
        """An order comes."""
        self._orders.append(order)
        if self._is_waited_for:
            self._is_waited_for = False
            self._process.resume(self._orders.popleft())

    def begin(self) -> None:
        """See Wait."""
        if self._orders:
            self._process.resume(self._orders.popleft())
        else:
            self._is_waited_for = True


class Surface:
    """What a worker sees of the world around it."""

    def __init__(
        self,
        strikes: Callable[[Process, str], bool],
        meeting: Callable[[Formation], Meeting],
        kill: Callable[[str, int], None],
        has_room: Callable[[str], bool],
        recipe: Sum,
        shard_seconds: float,
    ) -> None:
        """strikes may kill or freeze the process at a named point; whether it did something."""
        self.strikes = strikes
        self.meeting = meeting
        self.kill = kill
        self.has_room = has_room
        self.recipe = recipe
        self.shard_seconds = shard_seconds


class Worker:
    """One worker of a job's run."""

    def __init__(
        self,
        number: int,
        process: Process,
        around: Surface,
        task: Task,
        state: bytes | None,
        say: Callable[[Answer], None],
    ) -> None:
        self.number = number
        self.process = process
        self.mail = Mail(process)
        self._around = around
        self._recipe = around.recipe
        self._task = task
        self._beginning = state
        self._say = say
        self._state: State | None = None
        self._holding: Holding | None = None
        self._formation: Formation | None = None
        self._end: End | None = None
        self._commits: list[dict[str, object]] = []
        self._busy = 0.0
        self._computed = 0.0
        self._longest = 0.0
        self._rounds = 0
        self._round = 0
        self.is_at_work = True

    def beat(self) -> Answer:
        """That it lives, and where it stands; see gradloom.worker.server."""
        step = self._state.at.step if self._state and self._state.standing else -1
        return Answer(AnswerKind.BEAT, self._round, {"step": step, "reads": ""})

    def program(self, start_seconds: float, facts: dict[str, object]) -> Doing:
        """Starts, then obeys orders until it is killed."""
        yield start_seconds
        yield from self._point("worker.join")
        self.is_at_work = False
        self._say(Answer(AnswerKind.READY, 0, facts))
        while True:
            order = yield self.mail
            self.is_at_work = True
            answer = yield from self._answer(order)
            yield from self._point("worker.round.report")
            self.is_at_work = False
            self._say(answer)
            if answer.kind is AnswerKind.ERROR and answer.facts["reason"] != "SHM_TOO_SMALL":
                return

    def _point(self, name: str) -> Doing:
        if self._around.strikes(self.process, name):
            yield 0.0

    def _answer(self, order: Order) -> Doing:
        self._commits = []
        self._busy = self._computed = self._longest = 0.0
        try:
            answer = yield from self._obey(order)
        except Broken as broken:
            answer = self._broken(order, broken)
        except Exception as error:
            answer = _error(order, error)
        return answer

    def _obey(self, order: Order) -> Doing:
        if isinstance(order.work, Train):
            yield from self._entered(order)
            self._round = order.round
            yield from self._train(order.work.steps)
            facts: dict[str, object] = {
                "commits": self._commits,
                "compute_seconds": self._computed,
                "longest_step": self._longest,
                "resident": self._grown(),
            }
            if self._speaks:
                facts["digest"] = weights_of(self._at.blocks)
            return self._done(order, facts)
        self._stand(order)
        yield self._around.shard_seconds
        yield from self._point("worker.other")
        match order.work:
            case Evaluate():
                return self._done(order, {"statistics": self._evaluated(order.work)})
            case Snapshot():
                facts, body = self._snapshot(order.work)
                return self._done(order, facts, body)
            case Locate():
                return self._done(order, {"location": None})
            case Verify(shard):
                digest = self._recipe.leaf(self._at.at.step, shard, digest_of(self._at.blocks))
                return self._done(order, {"digest": f"{digest:x}"})

    def _grown(self) -> int:
        """The memory that it says it takes up: that of every third grows without end."""
        self._rounds += self.process.pid % 3 == 0
        return 100 + 50 * self._rounds

    @property
    def _speaks(self) -> bool:
        """Whether it says what the parameters of its cell are, one of several."""
        assert self._formation is not None
        places = self._member_places(self._formation)
        return len(places) < len(self._formation.members) and places[0] == self._own_place()

    def _done(self, order: Order, facts: dict[str, object], body: bytes = b"") -> Answer:
        facts |= {"step": self._at.at.step, "seconds": self._seconds()}
        return Answer(AnswerKind.DONE, order.round, facts, body)

    def _seconds(self) -> dict[str, float]:
        return {**dict.fromkeys(PHASES, 0.0), "forward": self._busy}

    @property
    def _at(self) -> State:
        assert self._state is not None, "it stands somewhere"
        return self._state

    # Where it stands.

    def _stand(self, order: Order) -> None:
        if order.state is not None or self._state is None or self._state.standing is None:
            self._state = self._kept(Memory(), order.state or self._beginning, order.step)
        self._at.stand_at(order.step)
        self._heed(order)

    def _kept(self, memory: Memory, content: bytes | None, step: int) -> State:
        """A state that is put into a memory."""
        before = self._state
        state = State(memory)
        if content is not None:
            blocks, state.standing = restored(content)
            memory.sides[0][:] = blocks
        elif before is not None and before.standing is not None:
            before.stand_at(step)
            memory.sides[0][:] = before.blocks
            state.standing = replace(before.at, side=0)
        else:
            memory.sides[0][:] = self._recipe.beginning()
            state.standing = Standing(0, 0)
        return state

    def _heed(self, order: Order) -> None:
        state = self._at
        for step, loss in order.measured if self._recipe.is_on_plateau else ():
            if step == state.at.step != state.at.measured:
                plateau = hash((state.at.plateau, step, loss))
                state.standing = replace(state.at, measured=step, plateau=plateau)

    # A formation.

    def _entered(self, order: Order) -> Doing:
        if self._formation is None or self._formation.number != order.formation.number:
            yield from self._enter(order)
        self._at.stand_at(order.step)
        self._heed(order)

    def _enter(self, order: Order) -> Doing:
        for pid in order.fence:
            self._around.kill(self.process.node, pid)
        yield from self._point("worker.enter")
        if self._end is not None:
            self._end.close()
        meeting = self._around.meeting(order.formation)
        self._end = end = meeting.enter(self.number, self.process)
        has_room = len(meeting.cell_of(self.number)) == 1 or self._around.has_room(
            self.process.node
        )
        notes = yield end.agree((self._brought(meeting, order.formation), has_room))
        if not all(note[1] for note in notes):
            end.close()
            raise NoRoom(f"{self.process.node} has too little shared memory")
        holding, is_fresh = self._held(meeting, order.formation, notes)
        yield from self._point("worker.keep")
        if is_fresh:
            state = self._kept(holding.memory, order.state or self._beginning, order.step)
        else:
            state = State(holding.memory)
            if self._state is not None:
                state.standing, state.before = self._state.standing, self._state.before
        self._beginning, self._state = None, state
        notes = yield end.agree((state.standing, state.before))
        state.standing, state.before = self._standings(order.formation, notes)
        self._holding, self._formation = holding, order.formation

    def _member_places(self, formation: Formation) -> list[int]:
        cell = next(m.cell for m in formation.members if m.worker == self.number)
        return [place for place, m in enumerate(formation.members) if m.cell == cell]

    def _brought(self, meeting: Meeting, formation: Formation) -> Memory | None:
        """The memory it brings along, copied where the old one must not be seen by this cell."""
        held = self._holding
        if held is None or held.segment != formation.segment:
            return None
        cell = meeting.cell_of(self.number)
        if held.cell == cell[0].cell and held.is_shared == (len(cell) > 1):
            return held.memory
        if held.cell == cell[0].cell and len(cell) == 1:
            return held.memory
        return Memory((list(held.memory.sides[0]), list(held.memory.sides[1])))

    def _held(
        self, meeting: Meeting, formation: Formation, notes: tuple[Any, ...]
    ) -> tuple[Holding, bool]:
        """The cell's memory, its leader's before others', and whether it is still to be filled."""
        places = self._member_places(formation)
        cell = meeting.cell_of(self.number)
        brought = [notes[place][0] for place in places if notes[place][0] is not None]
        number = cell[0].cell
        memory = brought[0] if brought else meeting.memories.setdefault(number, Memory())
        is_fresh = not brought and cell[0].worker == self.number
        return Holding(memory, formation.segment, number, len(cell) > 1), is_fresh

    def _standings(
        self, formation: Formation, notes: tuple[Any, ...]
    ) -> tuple[Standing | None, Standing | None]:
        """Where the one of the cell that stands furthest on does, and could go back to."""
        told = [notes[place] for place in self._member_places(formation)]
        standing, before = max(told, key=lambda each: each[0].step if each[0] else -1)
        return standing, before

    # Steps.

    def _train(self, steps: int) -> Doing:
        for _ in range(steps):
            yield from self._step()
            if self._at.at.skipped:
                return

    @property
    def _clock_time(self) -> float:
        return self.process.last_sign

    def _step(self) -> Doing:
        assert self._formation is not None and self._end is not None
        end, state, recipe = self._end, self._at, self._recipe
        member = end.member
        began, at = self._clock_time, state.at
        yield from self._point("worker.step.start")
        nodes = cover(member.first, member.last, recipe.shards)
        digest = digest_of(state.blocks)
        yield self._around.shard_seconds * max(member.last - member.first, 0.1)
        for node in nodes:
            yield from self._point("worker.slot.write")
            state.memory.registers[node] = recipe.node(node, at.step, digest)
        computed = self._clock_time
        own = {node: state.memory.registers[node] for node in nodes}
        notes = yield end.agree(own)
        agreed = self._clock_time
        yield from self._point("worker.slice.sum")
        total = recipe.total(self._nodes(notes))
        yield from self._write(total)
        notes = yield end.agree(digest)
        yield from self._point("worker.barrier")
        self._commit(total)
        self._computed += computed - began
        self._busy += computed - began + self._clock_time - agreed
        self._longest = max(self._longest, self._clock_time - began)

    def _nodes(self, notes: tuple[Any, ...]) -> dict[Node, int]:
        """The nodes of all members: those of one's own cell as they stand in memory now."""
        assert self._formation is not None
        memory, found = self._at.memory, {}
        own = set(self._member_places(self._formation))
        for place, nodes in enumerate(notes):
            for node, value in nodes.items():
                found[node] = memory.registers[node] if place in own else value
        return found

    def _write(self, total: int) -> Doing:
        """The blocks of the next step that are this member's to write, one after the other."""
        assert self._formation is not None
        state, at = self._at, self._at.at
        places = self._member_places(self._formation)
        mine, count = places.index(self._own_place()), len(places)
        rate = hash((self._task.rate_factor, at.plateau, at.updates))
        old, new = state.memory.sides[at.side], state.memory.sides[1 - at.side]
        for block in range(mine * BLOCKS // count, (mine + 1) * BLOCKS // count):
            value = self._recipe.block(old[block], total, block, rate)
            yield from self._point("worker.slice.update")
            new[block] = value

    def _own_place(self) -> int:
        assert self._formation is not None
        members = self._formation.members
        return next(place for place, m in enumerate(members) if m.worker == self.number)

    def _commit(self, total: int) -> None:
        state, at = self._at, self._at.at
        is_finite = self._recipe.is_finite(at.step + 1, self._roll_backs)
        if is_finite:
            state.move(
                replace(at, step=at.step + 1, side=1 - at.side, updates=at.updates + 1, skipped=0)
            )
        else:
            state.move(replace(at, step=at.step + 1, skipped=at.skipped + 1))
        self._commits.append(
            {
                "step": at.step + 1,
                "loss": loss_of(total),
                "learning_rate": self._task.rate_factor,
                "gradient_norm": 1.0 if is_finite else float("inf"),
                "metrics": {},
                "seconds": 0.0,
                "skipped": state.at.skipped,
                "health": None,
            }
        )

    @property
    def _roll_backs(self) -> int:
        """How often the job was rolled back: its rates are halved each time."""
        return round(1 / self._task.rate_factor).bit_length() - 1

    # Other work.

    def _evaluated(self, work: Evaluate) -> list[tuple[int, int, tuple[float, ...]]]:
        blocks, digest = self._recipe.validation_blocks, digest_of(self._at.blocks)

        def leaf(block: int) -> tuple[float, ...]:
            return (1.0, float(self._recipe.measure(digest, block)), 1.0, 0.0)

        return [
            (node.level, node.place, fold(node, blocks, leaf, _added))
            for node in cover(work.first, work.last, blocks)
        ]

    def _snapshot(self, work: Snapshot) -> tuple[dict[str, object], bytes]:
        body = kept(self._at.blocks, self._at.at, dict(work.metadata))
        if work.content is Content.STATE:
            return {"is_finite": True}, body
        return {"weights_sha256": weights_of(self._at.blocks)}, body

    def _broken(self, order: Order, broken: Broken) -> Answer:
        state = self._state
        facts = {
            "step": state.at.step if state and state.standing else -1,
            "commits": self._commits,
            "culprit": broken.culprit,
            "why": broken.why,
            "message": str(broken),
            "seconds": self._seconds(),
        }
        return Answer(AnswerKind.BROKEN, order.round, facts)


def _error(order: Order, error: Exception) -> Answer:
    reason = "SHM_TOO_SMALL" if isinstance(error, NoRoom) else "WORKER_ERROR"
    facts = {"reason": reason, "message": f"{type(error).__name__}: {error}"}
    return Answer(AnswerKind.ERROR, order.round, facts)


def _added(left: tuple[float, ...], right: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def weights_of(blocks: Blocks) -> str:
    """What a state's weights are told by."""
    return f"{digest_of(blocks) & (1 << 64) - 1:016x}"


def kept(blocks: Blocks, standing: Standing, metadata: dict[str, str]) -> bytes:
    """A state as a file of tensors without tensors: all of it stands in the metadata."""
    state = [standing.step, standing.updates, standing.skipped, standing.measured, standing.plateau]
    whole = {**metadata, "blocks": json.dumps(blocks), "state": json.dumps(state)}
    header = json.dumps({"__metadata__": whole}).encode()
    return _LENGTH.pack(len(header)) + header


def restored(content: bytes) -> tuple[Blocks, Standing]:
    """What kept made a file of."""
    metadata = json.loads(bytes(content[_LENGTH.size :]))["__metadata__"]
    step, updates, skipped, measured, plateau = json.loads(metadata["state"])
    return json.loads(metadata["blocks"]), Standing(step, 0, updates, skipped, measured, plateau)
