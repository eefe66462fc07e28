"""What members do at an agreement and a sum, by their role: alone, led by another one, leading."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from gradloom.worker.exchange.frames import Kind, bundled, unbundled
from gradloom.worker.exchange.peers import Peer, Peers
from gradloom.worker.exchange.swap import Swap, Trade
from gradloom.worker.exchange.topology import Topology


class Role(Protocol):
    """How a member takes part."""

    def agree(self, note: bytes) -> tuple[bytes, ...]:
        """Waits for all; their notes, in members' order. Raises Broken."""

    def swap(self) -> None:
        """Begins what leads to the sum over all cells; agree ends it. Raises Broken."""

    def await_sum(self, block: slice) -> None:
        """Waits until there is what the sum over a block takes. Raises Broken."""

    @property
    def sent(self) -> tuple[int, int]:
        """Frames and bytes sent so far."""

    def linger(self) -> None:
        """Tells peers that this member lives. Raises Broken."""

    def close(self) -> None:
        """Takes leave."""


class Lone:
    """The only member."""

    def agree(self, note: bytes) -> tuple[bytes, ...]:
        """See Role."""
        return (note,)

    def swap(self) -> None:
        """See Role."""

    def await_sum(self, block: slice) -> None:
        """See Role."""

    @property
    def sent(self) -> tuple[int, int]:
        """See Role."""
        return 0, 0

    def linger(self) -> None:
        """See Role."""

    def close(self) -> None:
        """See Role."""


class Follower:
    """A member that another one leads."""

    def __init__(self, peers: Peers, leader: Peer, *, swaps: bool, is_only: bool) -> None:
        """swaps tells whether there are other cells, is_only that there is no third member."""
        self._peers = peers
        self._leader = leader
        self._swaps = swaps
        self._is_only = is_only

    def agree(self, note: bytes) -> tuple[bytes, ...]:
        """See Role."""
        self._peers.say((self._leader,), Kind.NOTE, note)
        if self._is_only:
            return self._peers.hear_note(self._leader, Kind.NOTE), note
        return unbundled(self._peers.hear_note(self._leader, Kind.NOTES))

    def swap(self) -> None:
        """See Role."""
        if self._swaps:
            self._peers.hear_note(self._leader, Kind.SUMMED)

    def await_sum(self, block: slice) -> None:
        """See Role."""

    @property
    def sent(self) -> tuple[int, int]:
        """See Role."""
        return self._peers.sent

    def linger(self) -> None:
        """See Role."""
        self._peers.linger()

    def close(self) -> None:
        """See Role."""
        self._peers.close()


class Leader:
    """A member that leads its cell, and talks to those that lead others."""

    def __init__(
        self,
        peers: Peers,
        topology: Topology,
        followers: Sequence[Peer],
        leaders: Sequence[Peer],
        swap: Swap | Trade | None,
    ) -> None:
        """followers and leaders are in the order of the members and the other cells."""
        self._peers = peers
        self._followers = tuple(followers)
        self._leaders = tuple(leaders)
        self._is_pair = topology.is_pair
        self._others = [cell for cell in range(len(topology.cells)) if cell != topology.own]
        self._own = topology.own
        places = {member.worker: place for place, member in enumerate(topology.members)}
        self._places = [places[member.worker] for cell in topology.cells for member in cell]
        self._swap = swap
        if swap:
            for cell, peer in zip(self._others, self._leaders, strict=True):
                peer.link.place = partial(swap.place, cell)
                peer.link.arrived = partial(swap.arrived, cell)
                peer.link.more = partial(swap.more, cell)

    def agree(self, note: bytes) -> tuple[bytes, ...]:
        """See Role. Two members tell each other, so that neither waits for an answer."""
        self._end_swap()
        if self._is_pair:
            self._peers.say(self._followers, Kind.NOTE, note)
            return note, self._peers.hear_note(self._followers[0], Kind.NOTE)
        cell = (note, *[self._peers.hear_note(peer, Kind.NOTE) for peer in self._followers])
        notes = self._ordered(self._with_others(cell)) if self._leaders else cell
        if self._followers:
            self._peers.say(self._followers, Kind.NOTES, bundled(notes))
        return notes

    def _with_others(self, cell: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
        """The notes of each cell, in the order of the cells."""
        self._peers.say(self._leaders, Kind.NOTE, bundled(cell))
        cells = [unbundled(self._peers.hear_note(peer, Kind.NOTE)) for peer in self._leaders]
        for peer in self._leaders:
            peer.link.faults = 0
        return [*cells[: self._own], cell, *cells[self._own :]]

    def _ordered(self, cells: list[tuple[bytes, ...]]) -> tuple[bytes, ...]:
        notes = zip(self._places, (note for cell in cells for note in cell), strict=True)
        return tuple(note for _, note in sorted(notes))

    def swap(self) -> None:
        """See Role. Followers are told when all is there, a leader alone adds up meanwhile."""
        if self._swap is None:
            return
        self._swap.begin()
        if self._followers:
            self._end_swap()
            self._peers.say(self._followers, Kind.SUMMED, b"")
        else:
            self._peers.flush(self._leaders)

    def await_sum(self, block: slice) -> None:
        """See Role. Lets pieces come and go between two blocks, too."""
        if self._swap is None or not self._swap.is_begun:
            return
        self._peers.glance()
        self._peers.wait(partial(self._lacking_for, self._swap, block))

    def _lacking_for(self, swap: Swap | Trade, block: slice) -> list[Peer]:
        late = self._lacking(swap)
        return [] if swap.stands(block) else late

    def _end_swap(self) -> None:
        if self._swap is not None and self._swap.is_begun:
            self._peers.wait(partial(self._lacking, self._swap))
            self._swap.reset()

    def _lacking(self, swap: Swap | Trade) -> list[Peer]:
        """Sums that were added up meanwhile begin to leave."""
        self._peers.flush(self._leaders)
        return [
            peer
            for cell, peer in zip(self._others, self._leaders, strict=True)
            if swap.awaits(cell) or peer.link.owes
        ]

    @property
    def sent(self) -> tuple[int, int]:
        """See Role."""
        return self._peers.sent

    def linger(self) -> None:
        """See Role."""
        self._peers.linger()

    def close(self) -> None:
        """See Role."""
        self._peers.close()
