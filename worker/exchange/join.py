"""How a worker enters a formation: all members find each other, and cells share their memory."""

import json
import os
from collections.abc import Sequence

from gradloom.worker.exchange.boards import Board, Boards, words_of
from gradloom.worker.exchange.deadlines import for_follower, for_leader, for_own_leader
from gradloom.worker.exchange.exchange import Exchange, Layout, NoRoom, Vector
from gradloom.worker.exchange.frames import Frame, Kind
from gradloom.worker.exchange.greeting import job_tag
from gradloom.worker.exchange.holdings import Holdings, fresh_state, prepared
from gradloom.worker.exchange.link import Link
from gradloom.worker.exchange.listener import Listener
from gradloom.worker.exchange.loom import Loom
from gradloom.worker.exchange.peers import Peer, Peers
from gradloom.worker.exchange.roles import Follower, Leader, Lone, Role
from gradloom.worker.exchange.segment import Memory, attached
from gradloom.worker.exchange.swap import Swap, Trade
from gradloom.worker.exchange.topology import Topology
from gradloom.worker.exchange.tree import Node
from gradloom.worker.messages import Formation, Member


def join(
    formation: Formation,
    worker: int,
    listener: Listener,
    layout: Layout,
    before: Exchange | None = None,
) -> Loom:
    """This worker's end of a formation, once all members have come. Raises Broken, NoRoom.

    before is its end of the last formation, whose state it goes on with; None where it has no
    part in the job's state as the others have it. Where there is no room for one member, all
    members raise NoRoom.
    """
    topology = Topology(formation, worker, layout)
    if before:
        before.close()
    holdings: Holdings | None = None
    no_room = ""
    try:
        holdings = prepared(topology, before.holdings if isinstance(before, Loom) else None)
    except NoRoom as error:
        no_room = str(error)
    if len(topology.members) == 1:
        if holdings is None:
            raise NoRoom(no_room)
        return _alone(topology, holdings)
    entering = _Leading if topology.leads else _Led
    return entering(topology, listener, holdings, no_room).entered()


def _alone(topology: Topology, holdings: Holdings) -> Loom:
    is_fresh = holdings.state is None
    holdings.state = holdings.state or fresh_state(topology)
    return _woven(topology, Lone(), holdings, [holdings.slots], is_fresh=is_fresh)


def _woven(
    topology: Topology,
    role: Role,
    holdings: Holdings,
    slots: Sequence[Memory],
    *,
    is_fresh: bool,
) -> Loom:
    """slots are those of the cell's members, in their order."""
    whole = slots[0].vectors[topology.registers(topology.leader)]
    held = _held(topology, slots)
    if topology.traded:
        held[topology.traded[1 - topology.own]] = whole
    boards = _boards(topology, slots)
    return Loom(topology, role, holdings, held, whole, boards, is_fresh=is_fresh)


def _boards(topology: Topology, slots: Sequence[Memory]) -> Boards:
    boards = [
        Board(
            memory.words,
            range(member.first, member.last),
            topology.layout,
            memory.vectors[len(topology.nodes(member)) : topology.registers(member)],
        )
        for member, memory in zip(topology.cell, slots, strict=True)
    ]
    return Boards(boards, topology.cell.index(topology.me), topology.formation.number)


def _held(topology: Topology, slots: Sequence[Memory]) -> dict[Node, Vector]:
    vectors = {
        member.worker: memory.vectors for member, memory in zip(topology.cell, slots, strict=True)
    }
    return {
        node: vectors[source.worker][source.register]
        for node, source in topology.sources().items()
        if source.worker in vectors
    }


def _peer(topology: Topology, member: Member, patience: float, *, calls: bool) -> Peer:
    formation, is_local = topology.formation, member in topology.cell
    is_sealed = bool(formation.certificate) and not is_local
    tag, number = job_tag(formation.key), formation.number
    link = Link(member, tag, number, keeps=not is_local, is_sealed=is_sealed)
    return Peer(link, patience, calls=calls, is_local=is_local)


class _Led:
    """Enters a cell that another member leads."""

    def __init__(
        self, topology: Topology, listener: Listener, holdings: Holdings | None, no_room: str
    ) -> None:
        self._topology, self._holdings, self._no_room = topology, holdings, no_room
        formation = topology.formation
        patience = for_own_leader(formation.patience)
        self._leader = _peer(topology, topology.leader, patience, calls=True)
        self._peers = Peers(formation, topology.worker, listener, [self._leader])

    def entered(self) -> Loom:
        try:
            return self._entered()
        except BaseException:
            self._peers.close()
            raise

    def _entered(self) -> Loom:
        self._peers.connect()
        self._peers.send(self._leader, _holding(self._holdings, self._no_room))
        (shared,) = self._peers.hear([self._leader], Kind.SHARED)
        self._leader.link.takes_descriptors = False
        assert self._holdings is not None
        topology, layout, holdings = self._topology, self._topology.layout, self._holdings
        state, *slots = shared.descriptors
        holdings.state = _mapped(state, layout.vectors, layout.size, holdings.state)
        memories = [
            _mapped(
                descriptor,
                _slot_count(topology, member),
                layout.size,
                holdings.slots,
                words_of(layout),
            )
            for member, descriptor in zip(topology.cell, slots, strict=True)
        ]
        role = Follower(
            self._peers,
            self._leader,
            swaps=len(topology.cells) > 1,
            is_only=topology.is_pair,
        )
        return _woven(topology, role, holdings, memories, is_fresh=False)


class _Leading:
    """Enters a formation as the leader of a cell."""

    def __init__(
        self, topology: Topology, listener: Listener, holdings: Holdings | None, no_room: str
    ) -> None:
        self._topology, self._holdings, self._no_room = topology, holdings, no_room
        formation = topology.formation
        self._followers = [
            _peer(topology, member, for_follower(formation.patience), calls=False)
            for member in topology.cell[1:]
        ]
        self._leaders = [
            _peer(topology, cell[0], for_leader(formation.patience), calls=number < topology.own)
            for number, cell in enumerate(topology.cells)
            if number != topology.own
        ]
        peers = [*self._followers, *self._leaders]
        self._peers = Peers(formation, topology.worker, listener, peers)

    def entered(self) -> Loom:
        try:
            return self._entered()
        except BaseException:
            self._peers.close()
            raise

    def _entered(self) -> Loom:
        self._peers.connect()
        holding = self._peers.hear(self._followers, Kind.HOLDING)
        for peer in self._followers:
            peer.link.takes_descriptors = False
        state, is_fresh = self._state(holding)
        theirs = self._slots(holding)
        self._settle(holding)
        assert state is not None and self._holdings is not None
        self._holdings.state = state
        topology = self._topology
        slots = [self._holdings.slots, *theirs]
        self._share(state, slots)
        held = _held(topology, slots)
        whole = slots[0].vectors[topology.registers(topology.me)]
        swap: Swap | Trade | None = None
        if topology.traded:
            swap = Trade(topology, held, whole)
        elif self._leaders:
            swap = Swap(topology, held, whole, topology.sources())
        role = Leader(self._peers, topology, self._followers, self._leaders, swap)
        return _woven(topology, role, self._holdings, slots, is_fresh=is_fresh)

    def _slots(self, holding: Sequence[Frame]) -> list[Memory]:
        """Those of the followers, as far as there are; they close their descriptors."""
        topology, layout = self._topology, self._topology.layout
        return [
            attached(
                frame.descriptors[0], _slot_count(topology, member), layout.size, words_of(layout)
            )
            for member, frame in zip(topology.cell[1:], holding, strict=True)
            if frame.descriptors
        ]

    def _state(self, holding: Sequence[Frame]) -> tuple[Memory | None, bool]:
        """The cell's state, and whether it is to be filled."""
        layout = self._topology.layout
        own = self._holdings.state if self._holdings else None
        theirs = [each.descriptors[1] for each in holding if len(each.descriptors) > 1]
        for descriptor in theirs[own is None :]:
            os.close(descriptor)
        if own is not None:
            return own, False
        if theirs:
            return attached(theirs[0], layout.vectors, layout.size), False
        try:
            return fresh_state(self._topology), True
        except NoRoom as error:
            self._no_room = self._no_room or str(error)
            return None, True

    def _settle(self, holding: Sequence[Frame]) -> None:
        """All leaders come to know whether there is room everywhere. Raises NoRoom."""
        for frame in holding:
            self._no_room = self._no_room or json.loads(bytes(frame.body))["no_room"]
        for peer in self._leaders:
            self._peers.send(peer, Frame(Kind.NOTE, self._no_room.encode()))
        for frame in self._peers.hear(self._leaders, Kind.NOTE):
            self._no_room = self._no_room or bytes(frame.body).decode()
        if self._no_room:
            error = NoRoom(self._no_room)
            self._peers.tell(error)
            raise error

    def _share(self, state: Memory, slots: Sequence[Memory]) -> None:
        if not self._followers:
            return
        descriptors = tuple(
            memory.descriptor for memory in (state, *slots) if memory.descriptor is not None
        )
        for peer in self._followers:
            self._peers.send(peer, Frame(Kind.SHARED, descriptors=descriptors))
        self._peers.settle(self._followers)


def _slot_count(topology: Topology, member: Member) -> int:
    return topology.registers(member) + (member == topology.leader)


def _holding(holdings: Holdings | None, no_room: str) -> Frame:
    memories = [holdings.slots, holdings.state] if holdings else []
    descriptors = tuple(
        memory.descriptor for memory in memories if memory and memory.descriptor is not None
    )
    return Frame(Kind.HOLDING, json.dumps({"no_room": no_room}).encode(), descriptors=descriptors)


def _mapped(descriptor: int, count: int, length: int, own: Memory | None, words: int = 0) -> Memory:
    """The memory behind a descriptor, which may be one's own."""
    if own is not None and own.is_at(descriptor):
        os.close(descriptor)
        return own
    return attached(descriptor, count, length, words)
